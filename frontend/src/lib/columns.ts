// Columns of scores as typed arrays: what the workbench filters, sorts and counts without asking the server.
import type { Column, ScoreColumns } from '@/client'

export type Values = Int32Array | Float32Array | Uint8Array
export interface Columns {
  n: number
  [name: string]: Values | number
}

const views = { int32: Int32Array, float32: Float32Array, uint8: Uint8Array }

/** Little-endian values from base64. Every platform that browsers run on is little-endian. */
export function decodeColumn(column: Column): Values {
  const text = atob(column.data)
  const bytes = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i)
  return new views[column.dtype](bytes.buffer)
}

export interface DatasetColumns {
  n: number
  index: Values
  label: Values
  split: Values
  converted: Values
  duplicate: Values
}

export interface CaseColumns {
  n: number
  index: Values
  label: Values
  influence: Values
  shift_mean: Values
  n_collapsed: Values
  self_influence: Values
  relative_influence: Values
  collapse_score: Values
  posterior: Values
  mark_score: Values
  suspect: Values
  flagged: Values
  flagged_paper: Values
}

/** All columns decoded, with a plain sentence when the server left one out. */
export function decodeColumns<T extends { n: number }>(columns: ScoreColumns, names: readonly (keyof T & string)[]): T {
  const decoded: Record<string, unknown> = { n: columns.n }
  for (const name of names) {
    const column = columns.columns[name]
    if (!column) throw new Error(`The server's answer has no column "${name}".`)
    const values = decodeColumn(column)
    if (values.length !== columns.n) {
      throw new Error(`Column "${name}" has ${values.length} values where ${columns.n} were announced.`)
    }
    decoded[name] = values
  }
  return decoded as T
}

export const DATASET_COLUMNS = ['index', 'label', 'split', 'converted', 'duplicate'] as const
export const CASE_COLUMNS = [
  'index',
  'label',
  'influence',
  'shift_mean',
  'n_collapsed',
  'self_influence',
  'relative_influence',
  'collapse_score',
  'posterior',
  'mark_score',
  'suspect',
  'flagged',
  'flagged_paper',
] as const

/** Row numbers, ordered by a column; equal values by a second column (largest first), then in the order of rows. */
export function sortRows(rows: Int32Array, values: Values, order: 'asc' | 'desc', ties?: Values): Int32Array {
  const sign = order === 'asc' ? 1 : -1
  return rows.slice().sort((a, b) => sign * (values[a] - values[b]) || (ties ? ties[b] - ties[a] : 0) || a - b)
}

/** Row numbers that pass a test, in order. */
export function filterRows(n: number, passes: (row: number) => boolean): Int32Array {
  const rows = new Int32Array(n)
  let count = 0
  for (let row = 0; row < n; row++) if (passes(row)) rows[count++] = row
  return rows.slice(0, count)
}
