import { expect, test } from 'vitest'
import { asCurl, asPython, placeOfCase } from './snippets'

const id = 'a'.repeat(32)

test('a view as curl and as Python', () => {
  expect(asCurl('http://h', '/api/v1/jobs')).toBe(
    'curl -H "Authorization: Bearer $ORFILA_TOKEN" "http://h/api/v1/jobs"',
  )
  expect(asPython('http://h', `/api/v1/cases/${id}`)).toContain(`print(orfila.case("${id}"))`)
  expect(asPython('http://h', '/api/v1/jobs?limit=5')).toContain('print(orfila.get("/api/v1/jobs?limit=5"))')
  expect(asPython('http://h', '/api/v1/jobs')).toContain('Client("http://h", os.environ["ORFILA_TOKEN"])')
})

test('each place of a case has an address that answers what it shows', () => {
  const root = `/api/v1/cases/${id}`
  expect(placeOfCase(id, '')).toBe(root)
  expect(placeOfCase(id, 'evidence')).toBe(`${root}/scores?flagged=true`)
  const narrow = { tab: 'all', label: 3, verdict: 'none', sort: 'shift_mean' }
  expect(placeOfCase(id, 'evidence', narrow)).toBe(`${root}/scores?label=3&verdict=none&sort=shift_mean&order=asc`)
  expect(placeOfCase(id, 'evidence', { sort: 'informative' })).toBe(`${root}/review/next`)
  expect(placeOfCase(id, 'activity')).toBe(`/api/v1/audit?case_id=${id}`)
})
