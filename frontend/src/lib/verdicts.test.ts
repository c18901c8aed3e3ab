import { expect, test } from 'vitest'
import { applyChanges, inverse, isSame, nextUndecided, type VerdictValue } from './verdicts'

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

test('two maps are the same whatever their order, and not with another verdict or image', () => {
  const given = new Map<number, VerdictValue>([
    [3, 'poison'],
    [5, 'clean'],
  ])
  expect(isSame(given, new Map([...given].reverse()))).toBe(true)
  expect(isSame(given, new Map(given).set(5, 'unsure'))).toBe(false)
  expect(isSame(given, applyChanges(given, [{ index: 5, verdict: null }]).set(6, 'clean'))).toBe(false)
  expect(isSame(given, new Map(given).set(7, 'clean'))).toBe(false)
})
