import { QueryClient } from '@tanstack/react-query'
import { expect, test, vi } from 'vitest'
import { applyEvent, atMostEvery } from './live-events'

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

test('events that come fast are handled at once, and the last of them after a pause', () => {
  vi.useFakeTimers()
  const handled: string[] = []
  const pass = atMostEvery<string>(
    300,
    (event) => event[0],
    (event) => handled.push(event),
  )
  for (const event of ['a1', 'a2', 'b1', 'a3']) pass(event)
  expect(handled).toEqual(['a1', 'b1'])
  vi.advanceTimersByTime(301)
  expect(handled).toEqual(['a1', 'b1', 'a3'])
  pass('a4')
  expect(handled).toHaveLength(3)
  vi.advanceTimersByTime(301)
  expect(handled.at(-1)).toBe('a4')
  vi.advanceTimersByTime(301)
  pass('a5')
  expect(handled.at(-1)).toBe('a5')
  vi.useRealTimers()
})
