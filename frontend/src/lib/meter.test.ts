import { expect, test } from 'vitest'
import { meter } from './meter'

test('the speed is known after half a second and follows the last seconds', () => {
  const speed = meter()
  expect(speed(0, 0)).toBeNull()
  expect(speed(100, 400)).toBeNull()
  expect(speed(1000, 1000)).toBe(1000)
  for (let second = 2; second <= 20; second++) speed(1000 + 10 * (second - 1), 1000 * second)
  expect(speed(1000 + 10 * 20, 21_000)).toBe(10)
})

test('a transfer that starts again at an earlier place is measured anew', () => {
  const speed = meter()
  speed(0, 0)
  speed(8000, 1000)
  expect(speed(4000, 2000)).toBeNull()
  expect(speed(4500, 3000)).toBe(500)
})
