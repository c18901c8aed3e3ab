// Which images the gallery shows, and in which order. Pure, over the columns.
import { type CaseColumns, filterRows, maskOf, scoresOf, sortRows } from '@/lib/columns'
import type { Axis } from '@/lib/threshold'
import type { VerdictValue } from '@/lib/verdicts'

export type Sort =
  | 'posterior'
  | 'collapse_score'
  | 'shift_mean'
  | 'influence'
  | 'self_influence'
  | 'mark_score'
  | 'index'
  | 'informative'

export interface Filters {
  tab: 'flagged' | 'all' | 'selected'
  label?: number
  verdict?: VerdictValue | 'none'
  /** Brushed range on an axis. */
  range?: { axis: Axis; from: number; to: number }
  sort: Sort
}

const ascending = new Set<Sort>(['shift_mean', 'index'])

/** `index` of each image to show. `flagged`: rows that the present threshold flags, in any order. */
export function galleryOrder(
  columns: CaseColumns,
  filters: Filters,
  flagged: Int32Array,
  selected: ReadonlySet<number>,
  verdicts: ReadonlyMap<number, VerdictValue>,
  /** `index` of the images to judge first, the most informative one first; from the server. */
  informative: readonly number[] = [],
): Int32Array {
  const { label } = columns
  const { tab, range, verdict } = filters
  const among = tab === 'flagged' ? maskOf(columns.n, flagged) : tab === 'selected' ? maskOf(columns.n, selected) : null
  const axis = range && scoresOf(columns, range.axis)
  const rows = filterRows(columns.n, (row) => {
    if (among && among[row] === 0) return false
    if (filters.label !== undefined && label[row] !== filters.label) return false
    if (range && axis) {
      const value = axis[row]
      if (value < range.from || value > range.to) return false
    }
    if (verdict !== undefined && (verdicts.get(row) ?? 'none') !== verdict) return false
    return true
  })
  // Many posteriors are exactly 1: the collapse score then decides, as in the server's rank.
  const key = filters.sort === 'informative' ? 'posterior' : filters.sort
  const ties = key === 'posterior' ? columns.collapse_score : undefined
  const sorted = sortRows(rows, columns[key] ?? columns.posterior, ascending.has(key) ? 'asc' : 'desc', ties)
  return filters.sort === 'informative' ? moveToFront(sorted, informative) : sorted
}

/** The named images in their order, then the others in theirs. */
function moveToFront(order: Int32Array, first: readonly number[]): Int32Array {
  const shown = new Set(order)
  const named = new Set(first)
  return Int32Array.from([...first.filter((index) => shown.has(index)), ...order.filter((index) => !named.has(index))])
}
