import { expect, test } from 'vitest'
import { isTyping, keyAction, movePlace } from './keys'

const press = (key: string, more: Partial<KeyboardEventInit> = {}) =>
  keyAction({ key, shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, ...more })

test('verdict keys advance, and stay with shift', () => {
  expect(press('p')).toEqual({ kind: 'verdict', verdict: 'poison', advance: true })
  expect(press('P', { shiftKey: true })).toEqual({ kind: 'verdict', verdict: 'poison', advance: false })
  expect(press('0')).toEqual({ kind: 'verdict', verdict: null, advance: true })
  expect(press(')', { shiftKey: true, code: 'Digit0' })).toEqual({ kind: 'verdict', verdict: null, advance: false })
})

test('ctrl belongs to the browser but for A and Z', () => {
  expect(press('a', { ctrlKey: true })).toEqual({ kind: 'select-all' })
  expect(press('z', { metaKey: true })).toEqual({ kind: 'undo' })
  expect(press('Z', { ctrlKey: true, shiftKey: true })).toEqual({ kind: 'redo' })
  expect(press('c', { ctrlKey: true })).toBeNull()
  expect(press('p', { altKey: true })).toBeNull()
})

test('keys are dead in text fields and dialogues, alive on checkboxes', () => {
  document.body.innerHTML =
    '<input id="a"><textarea id="b"></textarea><input id="c" type="checkbox"><div role="dialog"><button id="d"></button></div><div id="e"></div>'
  const typing = (id: string) => isTyping(document.getElementById(id))
  expect(['a', 'b', 'c', 'd', 'e'].map(typing)).toEqual([true, true, false, true, false])
})

test('moves stay inside the grid', () => {
  expect(movePlace(0, 10, 4, 'left')).toBe(0)
  expect(movePlace(9, 10, 4, 'right')).toBe(9)
  expect(movePlace(1, 10, 4, 'up')).toBe(1)
  expect(movePlace(1, 10, 4, 'down')).toBe(5)
  expect(movePlace(7, 10, 4, 'down')).toBe(7)
  expect(movePlace(3, 10, 4, 'end')).toBe(9)
})
