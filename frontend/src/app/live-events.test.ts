import { QueryClient } from '@tanstack/react-query'
import { expect, test } from 'vitest'
import { applyEvent } from './live-events'

function cache(...keys: unknown[][]) {
  const queries = new QueryClient()
  for (const key of keys) queries.setQueryData(key, { id: key[1], state: 'running', progress: 0, phase: '' })
  const stale = () => keys.filter((key) => queries.getQueryState(key)?.isInvalidated).map((key) => key.join('/'))
  return { queries, stale }
}

test('progress of a job is shown at once, and only that job is asked for again', () => {
  const { queries, stale } = cache(['job', 'a'], ['job', 'b'])
  applyEvent(queries, 'job', { id: 'a', progress: 0.5, phase: 'index' })
  expect(queries.getQueryData(['job', 'a'])).toMatchObject({ progress: 0.5, phase: 'index', state: 'running' })
  expect(queries.getQueryData(['job', 'b'])).toMatchObject({ progress: 0 })
  expect(stale()).toEqual(['job/a'])
})

test('a colleague’s verdicts make the verdicts and the progress of that case old, not its scores', () => {
  const { queries, stale } = cache(
    ['case', 'c', 'verdicts'],
    ['case', 'c', 'review'],
    ['case', 'd', 'verdicts'],
    ['case-columns', 'c'],
  )
  applyEvent(queries, 'verdicts', { case_id: 'c' })
  expect(stale()).toEqual(['case/c/verdicts', 'case/c/review'])
})

test('a remedy makes its case old', () => {
  const { queries, stale } = cache(['case', 'c', 'remedies'], ['cases', 'p'], ['case', 'd'])
  applyEvent(queries, 'remedy', { id: 'r', case_id: 'c' })
  expect(stale()).toEqual(['case/c/remedies', 'cases/p'])
})
