import { expect, test } from 'vitest'
import { MOST_STRIDE, strideFor } from './use-pace'

test('the slower a whole drawing is, the fewer points are drawn while it moves', () => {
  expect(strideFor(16)).toBe(1)
  expect(strideFor(100)).toBe(5)
  expect(strideFor(60_000)).toBe(MOST_STRIDE)
})
