import { expect, test } from 'vitest'
import type { CaseColumns } from '@/lib/columns'
import { galleryOrder } from './order'

const n = 5
const columns: CaseColumns = {
  n,
  index: Int32Array.from([10, 11, 12, 13, 14]),
  label: Int32Array.from([0, 1, 1, 1, 0]),
  influence: new Float32Array(n),
  shift_mean: Float32Array.from([0, -5, -1, 2, 0]),
  n_collapsed: new Int32Array(n),
  self_influence: new Float32Array(n),
  relative_influence: new Float32Array(n),
  collapse_score: new Float32Array(n),
  posterior: Float32Array.from([0, 1, 0.5, 0.9, 0.2]),
  mark_score: new Float32Array(n),
  suspect: Uint8Array.from([0, 1, 1, 1, 0]),
  flagged: new Uint8Array(n),
  flagged_paper: new Uint8Array(n),
}
const show = (filters: Partial<Parameters<typeof galleryOrder>[1]>, selected: number[] = []) => [
  ...galleryOrder(
    columns,
    { tab: 'all', sort: 'posterior', ...filters },
    new Set([1, 3]),
    new Set(selected),
    new Map([[11, 'poison']]),
  ),
]

test('tabs, label, verdict and brush each narrow the gallery, sorted by the chosen score', () => {
  expect(show({})).toEqual([11, 13, 12, 14, 10])
  expect(show({ tab: 'flagged' })).toEqual([11, 13])
  expect(show({ tab: 'selected' }, [14, 12])).toEqual([12, 14])
  expect(show({ label: 0 })).toEqual([14, 10])
  expect(show({ verdict: 'poison' })).toEqual([11])
  expect(show({ verdict: 'none', tab: 'flagged' })).toEqual([13])
  expect(show({ range: { axis: 'shift_mean', from: -2, to: 1 } })).toEqual([12, 14, 10])
})

test('among equal posteriors the higher collapse score comes first', () => {
  const tied = {
    ...columns,
    posterior: new Float32Array(n).fill(1),
    collapse_score: Float32Array.from([1, 3, 2, 5, 4]),
  }
  const order = galleryOrder(tied, { tab: 'all', sort: 'posterior' }, new Set(), new Set(), new Map())
  expect([...order]).toEqual([13, 14, 11, 12, 10])
})

test('collapse comes first when sorting by influence shift', () => {
  expect(show({ sort: 'shift_mean' })).toEqual([11, 12, 10, 14, 13])
})

test('the most informative images come first, of those that the gallery shows; the others by posterior', () => {
  const order = (tab: 'all' | 'flagged') => [
    ...galleryOrder(columns, { tab, sort: 'informative' }, new Set([1, 3]), new Set(), new Map(), [14, 99, 13]),
  ]
  expect(order('all')).toEqual([14, 13, 11, 12, 10])
  expect(order('flagged')).toEqual([13, 11])
})
