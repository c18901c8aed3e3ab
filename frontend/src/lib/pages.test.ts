import { expect, test } from 'vitest'
import { everything, nextPage, together } from './pages'

const pages: Record<string, { items: number[]; next_cursor: string | null }> = {
  '': { items: [1, 2], next_cursor: 'b' },
  b: { items: [3, 4], next_cursor: 'c' },
  c: { items: [5], next_cursor: null },
}

test('a list is asked for to its end, once for each page', async () => {
  const asked: string[] = []
  const all = await everything(async (cursor = '') => {
    asked.push(cursor)
    return pages[cursor]
  })
  expect(all.items).toEqual([1, 2, 3, 4, 5])
  expect(asked).toEqual(['', 'b', 'c'])
})

test('pages that were shown one by one are one list, and the last one has no next', () => {
  expect(together({ pages: [pages[''], pages.b] }).items).toEqual([1, 2, 3, 4])
  expect([nextPage(pages.b), nextPage(pages.c)]).toEqual(['c', undefined])
})
