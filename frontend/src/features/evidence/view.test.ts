import { expect, test } from 'vitest'
import { keptOf, readView } from './view'

test('a kept view leaves out what belongs to one case', () => {
  expect(keptOf({ tab: 'all', i: 7, t: 0.4, from: -1, to: 2 })).toEqual({ tab: 'all', from: -1, to: 2 })
})

test('what nobody understands is left out when it is read', () => {
  expect(readView({ tab: 'all', sort: 'nonsense', view: 'transforms', label: '3' })).toEqual({
    tab: 'all',
    view: 'transforms',
    label: 3,
  })
})
