import { expect, test } from 'vitest'
import { layout } from './gallery'

test('tiles stand side by side at the zoom that was asked for', () => {
  expect(layout(50_000, 32, 2, 1000)).toEqual({ zoom: 2, cell: 72, columns: 13, rows: 3847 })
})

test('a million large tiles are drawn smaller, so that the last one can be reached', () => {
  const { zoom, cell, rows } = layout(1_000_000, 64, 6, 1000)
  expect(zoom).toBeLessThan(6)
  expect(rows * cell).toBeLessThanOrEqual(16_000_000)
})
