import { expect, test } from 'vitest'
import { toProblem } from './api'

test('problem+json keeps what to do and the id to quote', () => {
  const problem = toProblem({
    title: 'Too large',
    status: 413,
    code: 'too_large',
    detail: 'Send less.',
    instance: 'r1',
  })
  expect(problem).toMatchObject({
    status: 413,
    code: 'too_large',
    title: 'Too large',
    detail: 'Send less.',
    instance: 'r1',
  })
})

test('a server that does not answer is told apart from an error of the page', () => {
  expect(toProblem(new TypeError('Failed to fetch')).code).toBe('unreachable')
  expect(toProblem(new Error('boom'))).toMatchObject({ code: 'page_error', detail: 'boom' })
  expect(toProblem('', new Response('', { status: 502 })).status).toBe(502)
})
