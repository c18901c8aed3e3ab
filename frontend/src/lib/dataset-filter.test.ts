import { describe, expect, it } from 'vitest'
import type { DatasetColumns, PredictionColumns } from './columns'
import { matching, predictedOf, sizesOf } from './dataset-filter'

// A cleansed version: image 2 was removed.
const table: DatasetColumns = {
  n: 5,
  index: Int32Array.of(0, 1, 3, 4, 5),
  label: Int32Array.of(0, 1, 1, 0, 1),
  split: Uint8Array.of(0, 0, 0, 1, 1),
  converted: Uint8Array.of(0, 1, 0, 0, 0),
  duplicate: Uint8Array.of(1, 0, 2, 0, 0),
  width: Uint16Array.of(32, 64, 32, 32, 64),
  height: Uint16Array.of(32, 48, 32, 32, 64),
}
const predictions: PredictionColumns = {
  n: 2,
  index: Int32Array.of(4, 5),
  label: Int32Array.of(0, 1),
  predicted: Int32Array.of(1, 1),
  confidence: Float32Array.of(0.9, 0.8),
  margin: Float32Array.of(1, 2),
}
const predicted = predictedOf(table, predictions)
const indices = (filter: Parameters<typeof matching>[1]) => [...matching(table, filter, predicted)]

describe('filters of a data set', () => {
  it('lists sizes, most frequent first', () => {
    expect(sizesOf(table)[0]).toEqual({ size: '32x32', n: 3 })
    expect(sizesOf(table)).toHaveLength(3)
  })
  it('gives each row what the model says, and -1 where that is not known', () => {
    expect([...predicted]).toEqual([-1, -1, -1, 1, 1])
  })
  it('answers with indices, not with rows', () => {
    expect(indices({})).toEqual([0, 1, 3, 4, 5])
    expect(indices({ split: 'test' })).toEqual([4, 5])
    expect(indices({ label: 1, split: 'train' })).toEqual([1, 3])
  })
  it('filters by what intake noticed and by size', () => {
    expect(indices({ show: 'converted' })).toEqual([1])
    expect(indices({ show: 'duplicates' })).toEqual([0, 3])
    expect(indices({ show: 'other_label' })).toEqual([3])
    expect(indices({ size: '64x48' })).toEqual([1])
  })
  it('filters by what a model says; images of which nothing is known do not pass', () => {
    expect(indices({ says: 'wrong' })).toEqual([4])
    expect(indices({ says: 'right' })).toEqual([5])
    expect(indices({ says: '1' })).toEqual([4, 5])
    expect(indices({ says: '0' })).toEqual([])
  })
})
