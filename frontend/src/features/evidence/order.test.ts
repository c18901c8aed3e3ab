import { expect, test } from 'vitest'
import type { CaseColumns } from '@/lib/columns'
import { galleryOrder } from './order'

const n = 5
const columns: CaseColumns = {
  n,
  index: Int32Array.from([0, 1, 2, 3, 4]),
  label: Int32Array.from([0, 1, 1, 1, 0]),
  shift_mean: Float32Array.from([0, -5, -1, 2, 0]),
  collapse_score: new Float32Array(n),
  posterior: Float32Array.from([0, 1, 0.5, 0.9, 0.2]),
  suspect: Uint8Array.from([0, 1, 1, 1, 0]),
  flagged: new Uint8Array(n),
}
const show = (filters: Partial<Parameters<typeof galleryOrder>[1]>, selected: number[] = []) => [
  ...galleryOrder(
    columns,
    { tab: 'all', sort: 'posterior', ...filters },
    Int32Array.from([3, 1]),
    new Set(selected),
    new Map([[1, 'poison']]),
  ),
]

test('tabs, label, verdict and brush each narrow the gallery, sorted by the chosen score', () => {
  expect(show({})).toEqual([1, 3, 2, 4, 0])
  expect(show({ tab: 'flagged' })).toEqual([1, 3])
  expect(show({ tab: 'selected' }, [4, 2])).toEqual([2, 4])
  expect(show({ label: 0 })).toEqual([4, 0])
  expect(show({ verdict: 'poison' })).toEqual([1])
  expect(show({ verdict: 'none', tab: 'flagged' })).toEqual([3])
  expect(show({ range: { axis: 'shift_mean', from: -2, to: 1 } })).toEqual([2, 4, 0])
})

test('among equal posteriors the higher collapse score comes first', () => {
  const tied = {
    ...columns,
    posterior: new Float32Array(n).fill(1),
    collapse_score: Float32Array.from([1, 3, 2, 5, 4]),
  }
  const order = galleryOrder(tied, { tab: 'all', sort: 'posterior' }, new Int32Array(), new Set(), new Map())
  expect([...order]).toEqual([3, 4, 1, 2, 0])
})

test('collapse comes first when sorting by influence shift', () => {
  expect(show({ sort: 'shift_mean' })).toEqual([1, 2, 0, 4, 3])
})

test('the most informative images come first, of those that the gallery shows; the others by posterior', () => {
  const order = (tab: 'all' | 'flagged') => [
    ...galleryOrder(columns, { tab, sort: 'informative' }, Int32Array.from([3, 1]), new Set(), new Map(), [4, 99, 3]),
  ]
  expect(order('all')).toEqual([4, 3, 1, 2, 0])
  expect(order('flagged')).toEqual([3, 1])
})
