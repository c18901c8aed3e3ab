import { expect, test } from 'vitest'
import { decodeColumns, filterRows, maskOf, rowNumbers, sortRows, type Values } from './columns'

const base64 = (values: Int32Array | Float32Array | Uint8Array) =>
  btoa(String.fromCharCode(...new Uint8Array(values.buffer)))

test('columns decode to the numbers that were sent', () => {
  const decoded = decodeColumns<{ n: number; index: Int32Array; posterior: Float32Array }>(
    {
      n: 3,
      columns: {
        index: { dtype: 'int32', data: base64(Int32Array.from([5, -1, 70000])) },
        posterior: { dtype: 'float32', data: base64(Float32Array.from([0.5, 1, 0])) },
      },
    },
    ['index', 'posterior'],
  )
  expect([...decoded.index]).toEqual([5, -1, 70000])
  expect([...decoded.posterior]).toEqual([0.5, 1, 0])
})

test('a missing or short column is named', () => {
  expect(() => decodeColumns({ n: 1, columns: {} }, ['label' as never])).toThrow('"label"')
  const column = { dtype: 'uint8' as const, data: base64(Uint8Array.from([1])) }
  expect(() => decodeColumns({ n: 2, columns: { label: column } }, ['label' as never])).toThrow('1 values where 2')
})

test('rows filter and sort; equal values keep their order', () => {
  const values = Float32Array.from([3, 1, 3, 2])
  const rows = filterRows(4, (row) => values[row] > 1)
  expect([...sortRows(rows, values, 'desc')]).toEqual([0, 2, 3])
  expect([...sortRows(rows, values, 'asc')]).toEqual([3, 0, 2])
})

test('any column sorts as comparisons would, ties by the second one and then by row', () => {
  let seed = 1
  const random = () => {
    seed = (seed * 16807) % 2147483647
    return seed / 2147483647
  }
  const n = 5000
  const floats = Float32Array.from(
    { length: n },
    () => Math.round(20 * (random() - 0.5)) / 4 + (random() < 0.1 ? 1e-30 : 0),
  )
  floats[7] = -0
  floats[8] = Number.NEGATIVE_INFINITY
  const ties = Float32Array.from({ length: n }, () => Math.round(10 * random()))
  const columns: Values[] = [
    floats,
    Int32Array.from({ length: n }, () => Math.round(1e9 * (random() - 0.5))),
    Uint16Array.from({ length: n }, () => 65535 * random()),
    Uint8Array.from({ length: n }, () => 3 * random()),
  ]
  const rows = rowNumbers(n).filter((row) => row % 3 !== 1)
  for (const values of columns) {
    for (const order of ['asc', 'desc'] as const) {
      const sign = order === 'asc' ? 1 : -1
      const expected = rows.slice().sort((a, b) => sign * (values[a] - values[b]) || ties[b] - ties[a] || a - b)
      expect([...sortRows(rows, values, order, ties)]).toEqual([...expected])
    }
  }
  expect([...sortRows(new Int32Array(), floats, 'asc')]).toEqual([])
})

test('a mask says which images are among some', () => {
  expect([...maskOf(4, new Set([3, 0]))]).toEqual([1, 0, 0, 1])
})
