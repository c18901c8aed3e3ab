import { expect, test } from 'vitest'
import type { Case, Remedy, ReviewProgress } from '@/client'
import { isDone, type Standing, steps } from './steps'

const scored = { finding: { sentence: 'x' } } as unknown as Case
const remedy = (state: string, verified: boolean) =>
  ({ state, verification: verified ? {} : null }) as unknown as Remedy
const judged = (n: number) => ({ n_judged: n }) as ReviewProgress
const standing = (change: Partial<Standing>): Standing => ({
  item: scored,
  review: judged(0),
  remedies: [],
  seen: [],
  ...change,
})
const done = (change: Partial<Standing>) => steps.filter((s) => isDone(s.name, standing(change))).map((s) => s.name)

test('nothing is done before anything was seen', () => {
  expect(done({})).toEqual([])
  expect(done({ item: { finding: null } as Case, seen: ['finding'] })).toEqual([])
})

test('a step is done when the case says so, not when its page was opened', () => {
  expect(done({ seen: ['finding', 'images', 'proof'], review: judged(2) })).toEqual(['finding', 'images'])
  expect(done({ review: judged(3), remedies: [remedy('running', false)] })).toEqual(['judge'])
  expect(done({ remedies: [remedy('not_healed', true)], seen: ['proof'] })).toEqual(['repair'])
  expect(done({ remedies: [remedy('verified', true)] })).toEqual(['repair'])
  expect(done({ remedies: [remedy('verified', true)], seen: ['proof'] })).toEqual(['repair', 'proof'])
})
