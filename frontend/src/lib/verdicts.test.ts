import { expect, test } from 'vitest'
import { applyChanges, inverse, nextUndecided, type VerdictValue } from './verdicts'

test('a change and its inverse give the first state back', () => {
  const before = new Map<number, VerdictValue>([[1, 'poison']])
  const changes = [
    { index: 1, verdict: 'clean' as const },
    { index: 2, verdict: 'poison' as const },
  ]
  const after = applyChanges(before, changes)
  expect([...after]).toEqual([
    [1, 'clean'],
    [2, 'poison'],
  ])
  expect([...applyChanges(after, inverse(before, changes))]).toEqual([...before])
})

test('next undecided skips the judged, goes round, and ends when all are judged', () => {
  const order = [10, 11, 12, 13]
  const judged = new Set([12, 13])
  expect(nextUndecided(order, 1, 1, (i) => judged.has(i))).toBe(0)
  expect(nextUndecided(order, 0, -1, (i) => judged.has(i))).toBe(1)
  expect(nextUndecided(order, 0, 1, () => true)).toBeNull()
})
