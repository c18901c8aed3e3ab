import { expect, test } from 'vitest'
import { countBins, makeBins } from './binning'

test('every finite value is counted once, edges included', () => {
  const values = Float32Array.from([0, 0.5, 1, 1, -1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
  const bins = makeBins(values, 4)
  expect(bins.start).toBe(-1)
  expect(bins.width).toBe(0.5)
  expect(countBins(bins, values, () => true)).toEqual([1, 0, 1, 3])
})

test('a constant column makes one full bin', () => {
  const values = Float32Array.from([2, 2, 2])
  const counts = countBins(makeBins(values, 5), values, () => true)
  expect(counts.reduce((a, b) => a + b)).toBe(3)
  expect(Math.max(...counts)).toBe(3)
})

test('far tails share the outermost bins', () => {
  const values = Float32Array.from({ length: 10_000 }, (_, i) => i / 10_000)
  values[0] = -1e12
  values[1] = 1000
  values[2] = Number.NEGATIVE_INFINITY
  const bins = makeBins(values, 10)
  expect(bins.start).toBeCloseTo(0, 1)
  expect(bins.width).toBeCloseTo(0.1, 1)
  const counts = countBins(bins, values, () => true)
  expect(counts.reduce((a, b) => a + b)).toBe(9_999)
  expect(counts[0]).toBeGreaterThan(900)
})
