// What a refit changed, in one sentence.
import type { Finding } from '@/client'
import { count, plural } from './format'

/** How many verdicts the scores of a finding have learned from. */
export const nLearned = (finding: Finding | null): number => Number(finding?.parameters.n_confirmed ?? 0)

export function learnedSentence(before: Finding | null, after: Finding | null): string | null {
  if (before === null || after === null) return null
  const n = nLearned(after)
  const change = after.n_flagged - before.n_flagged
  const moved = change === 0 ? 'as many as before' : `${count(Math.abs(change))} ${change > 0 ? 'more' : 'fewer'}`
  const from = n === 0 ? 'Back to the scores before any verdict' : `Learned from ${plural(n, 'verdict')}`
  return `${from}: ${count(after.n_flagged)} flagged, ${moved}.`
}
