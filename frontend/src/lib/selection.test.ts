import { expect, test } from 'vitest'
import { nothing, select, selectAll, targets } from './selection'

const order = [7, 3, 9, 1, 5]

test('a click replaces the selection', () => {
  const one = select(nothing, order, 3, 'replace')
  const two = select(one, order, 1, 'replace')
  expect([...two.selected]).toEqual([1])
  expect(two.focused).toBe(1)
})

test('shift extends from the anchor in the order shown, and shrinks again', () => {
  const start = select(nothing, order, 3, 'replace')
  const wide = select(start, order, 5, 'extend')
  expect([...wide.selected]).toEqual([3, 9, 1, 5])
  const narrow = select(wide, order, 9, 'extend')
  expect([...narrow.selected]).toEqual([3, 9])
  const back = select(narrow, order, 7, 'extend')
  expect([...back.selected]).toEqual([7, 3])
})

test('an anchor that a filter removed starts a new selection', () => {
  const start = select(nothing, order, 3, 'replace')
  expect([...select(start, [9, 1], 1, 'extend').selected]).toEqual([1])
})

test('ctrl toggles one and keeps the rest', () => {
  const two = select(select(nothing, order, 3, 'replace'), order, 9, 'toggle')
  expect([...two.selected].sort()).toEqual([3, 9])
  expect([...select(two, order, 3, 'toggle').selected]).toEqual([9])
})

test('a verdict goes to the whole selection only when the focus is in it', () => {
  const all = selectAll(select(nothing, order, 3, 'replace'), order)
  expect(targets(all).sort()).toEqual([1, 3, 5, 7, 9])
  expect(targets({ ...all, focused: 42 })).toEqual([42])
  expect(targets(nothing)).toEqual([])
})
