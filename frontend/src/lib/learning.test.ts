import { expect, test } from 'vitest'
import type { Finding } from '@/client'
import { learnedSentence, nLearned } from './learning'

const finding = (n_flagged: number, n_confirmed?: number) =>
  ({ n_flagged, parameters: n_confirmed === undefined ? {} : { n_confirmed } }) as unknown as Finding

test('a refit says what it learned from and what moved', () => {
  expect(learnedSentence(finding(116), finding(112, 6))).toBe('Learned from 6 verdicts: 112 flagged, 4 fewer.')
  expect(learnedSentence(finding(1116), finding(1117, 1))).toBe('Learned from 1 verdict: 1,117 flagged, 1 more.')
  expect(learnedSentence(finding(5, 1), finding(5, 0))).toBe(
    'Back to the scores before any verdict: 5 flagged, as many as before.',
  )
  expect(learnedSentence(null, finding(5))).toBeNull()
})

test('a finding of an earlier version has learned nothing', () => {
  expect(nLearned(finding(3))).toBe(0)
})
