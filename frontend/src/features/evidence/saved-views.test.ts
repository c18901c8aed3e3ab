import { expect, test } from 'vitest'
import { keptOf, wholeOf } from './saved-views'

test('a saved view leaves out what belongs to one case', () => {
  expect(keptOf({ tab: 'all', i: 7, t: 0.4, from: -1, to: 2 })).toEqual({ tab: 'all', from: -1, to: 2 })
})

test('opening it takes back what it does not name, and ignores what nobody understands', () => {
  const opened = wholeOf({ tab: 'all', sort: 'nonsense', i: 3 })
  expect(opened.tab).toBe('all')
  expect(Object.keys(opened)).toContain('label')
  expect(opened.label).toBeUndefined()
  expect(opened.sort).toBeUndefined()
  expect(Object.keys(opened)).not.toContain('i')
  expect(Object.keys(opened)).not.toContain('t')
})
