import { expect, test } from 'vitest'
import { Thumbnails, thumbnailOf } from './atlas'

const atlas = { tile: 32, columns: 32, rows: 32, count: 44 }
const asked = (url: string) => url.split('images=')[1].split(',').map(Number)

/** Every image of an order is where its thumbnail says. */
function checkAll(thumbnails: Thumbnails, order: Int32Array, likely?: Int32Array) {
  for (let place = 0; place < order.length; place++) {
    const { url, columns, rows, x, y } = thumbnails.at(order, place, likely)
    const cell = y * columns + x
    expect(y).toBeLessThan(rows)
    if (url.includes('atlases/')) expect(Number(/(\d+)\.webp/.exec(url)?.[1]) * 1024 + cell).toBe(order[place])
    else expect(asked(url)[cell]).toBe(order[place])
  }
}
const urls = (thumbnails: Thumbnails, order: Int32Array, likely?: Int32Array) =>
  new Set(Array.from(order, (_, place) => thumbnails.at(order, place, likely).url))

const scattered = Int32Array.from({ length: 400 }, (_, k) => (k * 7919) % 45_000)

test('images in order come from the atlases', () => {
  const thumbnails = new Thumbnails('d', atlas)
  const order = Int32Array.from({ length: 1536 }, (_, k) => 512 + k)
  checkAll(thumbnails, order)
  expect([...urls(thumbnails, order)]).toEqual([
    '/api/v1/datasets/d/atlases/0.webp',
    '/api/v1/datasets/d/atlases/1.webp',
  ])
})

test('images from all over come in sheets of 128', () => {
  const thumbnails = new Thumbnails('d', atlas)
  checkAll(thumbnails, scattered)
  expect(Array.from(urls(thumbnails, scattered), (url) => asked(url).length)).toEqual([128, 128, 128, 16])
})

test('an image that moves up keeps its sheet, so that nothing is loaded twice', () => {
  const thumbnails = new Thumbnails('d', atlas)
  const before = urls(thumbnails, scattered.subarray(0, 256))
  const without = scattered.filter((_, k) => k !== 3).subarray(0, 256)
  checkAll(thumbnails, without)
  const added = [...urls(thumbnails, without)].filter((url) => !before.has(url))
  expect(added.map(asked)).toEqual([[scattered[256]]])
})

test('a sheet with room brings what is likely to come next', () => {
  const thumbnails = new Thumbnails('d', atlas)
  const [first] = urls(thumbnails, scattered.subarray(0, 50), scattered)
  expect(asked(first)).toEqual([...scattered.subarray(0, 128)])
  checkAll(thumbnails, scattered.subarray(0, 120), scattered)
  expect([...urls(thumbnails, scattered.subarray(0, 120), scattered)]).toEqual([first])
})

test('an image by itself brings no atlas, unless there are but two', () => {
  expect(thumbnailOf('d', atlas, 5_000).url).toContain('images=5000')
  const among = [9, 5_000, 30_000]
  const found = among.map((index) => thumbnailOf('d', atlas, index, among))
  expect(new Set(found.map((each) => each.url)).size).toBe(1)
  expect(found.map((each) => asked(each.url)[each.y * each.columns + each.x])).toEqual(among)
  expect(thumbnailOf('d', { ...atlas, count: 2 }, 1_025)).toEqual({
    url: '/api/v1/datasets/d/atlases/1.webp',
    columns: 32,
    rows: 32,
    x: 1,
    y: 0,
  })
})
