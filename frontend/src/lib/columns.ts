// Columns of scores as typed arrays: what the workbench filters, sorts and counts without asking the server.
import type { Column, ScoreColumns } from '@/client'

export type Values = Int32Array | Float32Array | Uint16Array | Uint8Array
export interface Columns {
  n: number
  [name: string]: Values | number
}

const views = { int32: Int32Array, float32: Float32Array, uint16: Uint16Array, uint8: Uint8Array }

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  // Browsers since 2025 decode by themselves, ten times as fast.
  const native = (Uint8Array as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> }).fromBase64
  if (native) return native.call(Uint8Array, base64)
  const text = atob(base64)
  const bytes = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i)
  return bytes
}

/** Little-endian values from base64. Every platform that browsers run on is little-endian. */
export function decodeColumn(column: Column): Values {
  return new views[column.dtype](bytesOf(column.data).buffer)
}

export interface DatasetColumns {
  n: number
  index: Values
  label: Values
  split: Values
  converted: Values
  duplicate: Values
  width: Values
  height: Values
}

export interface PredictionColumns {
  n: number
  index: Values
  label: Values
  predicted: Values
  confidence: Values
  margin: Values
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

export const DATASET_COLUMNS = ['index', 'label', 'split', 'converted', 'duplicate', 'width', 'height'] as const
export const PREDICTION_COLUMNS = ['index', 'label', 'predicted', 'confidence', 'margin'] as const
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

/** The row of an image in a rising column of indices; -1 where it is not there. */
export function rowOf(indices: Values, index: number): number {
  let low = 0
  let high = indices.length - 1
  while (low <= high) {
    const middle = (low + high) >> 1
    if (indices[middle] === index) return middle
    if (indices[middle] < index) low = middle + 1
    else high = middle - 1
  }
  return -1
}
