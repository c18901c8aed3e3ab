// What a threshold on the posterior would flag, and how good that set would be. Pure arithmetic on sorted suspects, so
// that dragging the line over 50,000 images stays far below a frame.
import { type CaseColumns, filterRows, scoresOf, sortRows } from './columns'
import type { VerdictValue } from './verdicts'

export interface Ranking {
  /** Rows of the suspects, most suspicious first: by posterior, then by collapse score where posteriors are equal. */
  rows: Int32Array
  /** Posterior of each ranked row. */
  posterior: Float64Array
  /** certain[k] = sum of the probability of being poison over the first k rows, a verdict counting as 1 or 0. */
  certain: Float64Array
}

export interface ThresholdReading {
  count: number
  precision: number | null
  recall: number | null
}

/** Rows of the suspects, most suspicious first; verdicts do not move them, so that this is sorted once. */
export function suspectRows({ n, posterior, collapse_score, suspect }: CaseColumns): Int32Array {
  const rows = filterRows(n, (row) => suspect[row] === 1)
  return sortRows(rows, posterior, 'desc', collapse_score)
}

/** rows: of `suspectRows`, where somebody has sorted them already. */
export function rankSuspects(
  columns: CaseColumns,
  verdicts: ReadonlyMap<number, VerdictValue>,
  rows = suspectRows(columns),
): Ranking {
  const { posterior, index } = columns
  const certain = new Float64Array(rows.length + 1)
  const sorted = new Float64Array(rows.length)
  for (let k = 0; k < rows.length; k++) {
    const row = rows[k]
    sorted[k] = posterior[row]
    const verdict = verdicts.get(index[row])
    const probability = verdict === 'poison' ? 1 : verdict === 'clean' ? 0 : posterior[row]
    certain[k + 1] = certain[k] + probability
  }
  return { rows, posterior: sorted, certain }
}

/** How many suspects have a posterior above the threshold (binary search in descending order). */
export function countAbove(ranking: Ranking, threshold: number): number {
  let low = 0
  let high = ranking.posterior.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (ranking.posterior[middle] > threshold) low = middle + 1
    else high = middle
  }
  return low
}

/** Precision and recall expected of flagging the first `count` suspects. */
export function readRanking(ranking: Ranking, count: number): ThresholdReading {
  const all = ranking.certain[ranking.certain.length - 1]
  return {
    count,
    precision: count > 0 ? ranking.certain[count] / count : null,
    recall: all > 0 ? ranking.certain[count] / all : null,
  }
}

/** A posterior that flags `count` suspects, or the nearest number that equal posteriors allow. */
export function thresholdFor(ranking: Ranking, count: number): number {
  const { posterior } = ranking
  if (posterior.length === 0) return 0.9
  const k = Math.max(0, Math.min(count, posterior.length))
  if (k === 0) return 1
  const last = posterior[k - 1]
  const next = k < posterior.length ? posterior[k] : 0
  return last > next ? (last + next) / 2 : Math.max(0, last - Math.max(1e-7, last * 1e-7))
}

/** Which side of an axis is suspicious: a negative influence shift is collapse, a high score or posterior is too. */
export type Axis = 'collapse_score' | 'shift_mean' | 'posterior' | 'mark_score'
export const suspiciousSide: Record<Axis, 'low' | 'high'> = {
  collapse_score: 'high',
  shift_mean: 'low',
  posterior: 'high',
  mark_score: 'high',
}

/** Values of the suspects on an axis, most suspicious first. */
export function axisValues(columns: CaseColumns, axis: Axis): Float64Array {
  const values = scoresOf(columns, axis)
  const suspects = filterRows(columns.n, (row) => columns.suspect[row] === 1)
  const sorted = Float64Array.from(suspects, (row) => values[row]).sort()
  return suspiciousSide[axis] === 'low' ? sorted : sorted.reverse()
}

/** Where to draw the line on an axis so that `count` suspects lie beyond it. */
export function cutFor(sorted: Float64Array, count: number, side: 'low' | 'high'): number | null {
  if (sorted.length === 0) return null
  if (count <= 0) return sorted[0] + (side === 'high' ? 1e-6 : -1e-6)
  if (count >= sorted.length) return sorted[sorted.length - 1] + (side === 'high' ? -1e-6 : 1e-6)
  return (sorted[count - 1] + sorted[count]) / 2
}

/** How many suspects lie beyond a line on an axis. */
export function countBeyond(sorted: Float64Array, cut: number, side: 'low' | 'high'): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (side === 'high' ? sorted[middle] > cut : sorted[middle] < cut) low = middle + 1
    else high = middle
  }
  return low
}
