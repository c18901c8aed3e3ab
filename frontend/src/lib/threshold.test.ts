import { expect, test } from 'vitest'
import type { CaseColumns } from './columns'
import { axisValues, countAbove, countBeyond, cutFor, rankSuspects, readRanking, thresholdFor } from './threshold'

function columns(posterior: number[], suspect = posterior.map(() => 1)): CaseColumns {
  const n = posterior.length
  return {
    n,
    index: Int32Array.from(posterior, (_, i) => 100 + i),
    label: new Int32Array(n),
    shift_mean: Float32Array.from(posterior, (p) => -p),
    collapse_score: Float32Array.from(posterior),
    posterior: Float32Array.from(posterior),
    suspect: Uint8Array.from(suspect),
    flagged: new Uint8Array(n),
  }
}

test('count, precision and recall come from the posteriors of suspects alone', () => {
  const ranking = rankSuspects(columns([0.25, 1, 0.75, 1], [1, 1, 1, 0]), new Map())
  expect([...ranking.rows]).toEqual([1, 2, 0])
  expect(countAbove(ranking, 0.5)).toBe(2)
  expect(readRanking(ranking, 2)).toEqual({ count: 2, precision: 0.875, recall: 0.875 })
})

test('verdicts replace posteriors by one and zero; unsure does not', () => {
  const verdicts = new Map([
    [100, 'poison' as const],
    [101, 'clean' as const],
    [102, 'unsure' as const],
  ])
  const ranking = rankSuspects(columns([0.25, 1, 0.75]), verdicts)
  expect(readRanking(ranking, 2).precision).toBeCloseTo(0.75 / 2)
  expect(readRanking(ranking, 2).recall).toBeCloseTo(0.75 / 1.75)
})

test('nothing flagged has no precision, and a case without suspects no recall', () => {
  const ranking = rankSuspects(columns([0.2]), new Map())
  expect(readRanking(ranking, 0)).toEqual({ count: 0, precision: null, recall: 0 })
  expect(readRanking(rankSuspects(columns([0.2], [0]), new Map()), 0).recall).toBeNull()
})

test('thresholdFor and countAbove agree for every count without ties', () => {
  const ranking = rankSuspects(columns([0.9, 0.1, 0.5, 0.999, 0.0001]), new Map())
  for (let k = 0; k <= 5; k++) expect(countAbove(ranking, thresholdFor(ranking, k))).toBe(k)
})

test('equal posteriors are flagged together', () => {
  const ranking = rankSuspects(columns([1, 1, 1, 0.2]), new Map())
  expect(countAbove(ranking, thresholdFor(ranking, 2))).toBe(3)
})

test('the line on an axis leaves exactly the counted images beyond it, on either side', () => {
  const table = columns([0.9, 0.1, 0.5, 0.7])
  for (const [axis, side] of [
    ['collapse_score', 'high'],
    ['shift_mean', 'low'],
  ] as const) {
    const sorted = axisValues(table, axis)
    for (let k = 0; k <= 4; k++) expect(countBeyond(sorted, cutFor(sorted, k, side) ?? 0, side)).toBe(k)
  }
})

test('50,000 suspects are ranked and read within the time of a few frames', () => {
  const table = columns(Array.from({ length: 50_000 }, (_, i) => ((i * 7919) % 50_000) / 50_000))
  const ranking = rankSuspects(table, new Map())
  const start = performance.now()
  for (let i = 0; i < 1000; i++) readRanking(ranking, countAbove(ranking, i / 1000))
  expect(performance.now() - start).toBeLessThan(50)
})
