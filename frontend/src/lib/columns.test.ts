import { expect, test } from 'vitest'
import { decodeColumns, filterRows, sortRows } from './columns'

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
