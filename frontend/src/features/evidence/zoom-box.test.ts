import { expect, test } from 'vitest'
import { enlarged, moved, nextScale, wholePicture } from './zoom-box'

test('the place under the pointer stays where it is', () => {
  const glass = enlarged(enlarged(wholePicture, 2, 0.25, 0.75), 2, 0.25, 0.75)
  expect(glass.scale).toBe(4)
  expect(glass.x + 0.25 / glass.scale).toBeCloseTo(0.25)
  expect(glass.y + 0.75 / glass.scale).toBeCloseTo(0.75)
})

test('nothing beside the picture is ever seen', () => {
  expect(enlarged(wholePicture, 0.1)).toEqual(wholePicture)
  expect(moved(enlarged(wholePicture, 2), 5, -5)).toEqual({ scale: 2, x: 0, y: 0.5 })
  expect(enlarged(wholePicture, 1000).scale).toBe(16)
})

test('a key goes through 1, 2, 4 and 8 times and back', () => {
  const scales = [wholePicture]
  for (let k = 0; k < 4; k++) scales.push(nextScale(scales[k]))
  expect(scales.map((glass) => glass.scale)).toEqual([1, 2, 4, 8, 1])
})
