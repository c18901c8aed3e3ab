import { expect, test } from 'vitest'
import { commandNames, defaults, readBindings, useBindings, whyNot } from './bindings'
import { keyAction } from './keys'

const press = (key: string) => ({ key, shiftKey: false, ctrlKey: false, metaKey: false, altKey: false })

test('every command has a key of its own', () => {
  expect(new Set(Object.values(defaults)).size).toBe(commandNames.length)
  for (const name of commandNames) expect(whyNot(defaults, name, defaults[name])).toBeNull()
})

test('a key that is taken, or no letter, is refused with a reason', () => {
  expect(whyNot(defaults, 'poison', 'c')).toContain('taken')
  expect(whyNot(defaults, 'poison', 'Enter')).toContain('letter')
  expect(whyNot(defaults, 'poison', ' ')).toContain('letter')
  expect(whyNot(defaults, 'poison', 'x')).toBeNull()
})

test('what a browser remembers is read as far as it makes sense', () => {
  expect(readBindings(null)).toEqual(defaults)
  expect(readBindings('not JSON')).toEqual(defaults)
  expect(readBindings('{"poison": "x", "clean": 7, "nonsense": "y"}')).toEqual({ ...defaults, poison: 'x' })
  expect(readBindings('{"poison": "c", "clean": "p"}')).toEqual({ ...defaults, poison: 'c', clean: 'p' })
  expect(readBindings('{"poison": "c"}')).toEqual(defaults)
})

test('another key does what was bound to it, and the old one nothing', () => {
  useBindings.getState().bind('poison', 'x')
  const { keys } = useBindings.getState()
  expect(keyAction(press('x'), keys)).toEqual({ kind: 'verdict', verdict: 'poison', advance: true })
  expect(keyAction(press('p'), keys)).toBeNull()
  useBindings.getState().bind('clean', 'x')
  expect(useBindings.getState().keys.clean).toBe('c')
  useBindings.getState().reset()
  expect(useBindings.getState().keys).toEqual(defaults)
})
