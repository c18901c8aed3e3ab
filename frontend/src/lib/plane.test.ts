import { expect, test } from 'vitest'
import { density, extentOf, Grid, inside, panBy, toPlane, toScreen, viewOf, zoomAt } from './plane'

const size = { width: 400, height: 200 }
const x = Float32Array.from([0, 10, 5, Number.NaN, 2])
const y = Float32Array.from([0, -4, 6, Number.NaN, 1])
const whole = viewOf(extentOf(x, y), size)

test('all points stand on the screen, with room around them', () => {
  const places = [0, 1, 2, 4].map((i) => toScreen(whole, size, x[i], y[i]))
  expect(Math.min(...places.map(([px]) => px))).toBeCloseTo(24)
  expect(Math.max(...places.map(([px]) => px))).toBeCloseTo(376)
  expect(Math.min(...places.map(([, py]) => py))).toBeCloseTo(12)
  expect(places[2][1]).toBeCloseTo(12) // the highest y is at the top
  expect(viewOf(extentOf(new Float32Array(0), new Float32Array(0)), size)).toEqual({ x: 0, y: 0, kx: 1, ky: 1 })
})

test('zooming keeps what is under the pointer, and has limits; panning moves by pixels', () => {
  const before = toPlane(whole, size, 100, 50)
  const near = zoomAt(whole, whole, size, 100, 50, 3)
  expect(toPlane(near, size, 100, 50)).toEqual([expect.closeTo(before[0]), expect.closeTo(before[1])])
  expect(near.kx / whole.kx).toBeCloseTo(3)
  expect(zoomAt(whole, whole, size, 0, 0, 1e-6).kx / whole.kx).toBeCloseTo(0.5)
  const [px, py] = toScreen(panBy(near, 7, -5), size, x[0], y[0])
  const [qx, qy] = toScreen(near, size, x[0], y[0])
  expect([px - qx, py - qy]).toEqual([expect.closeTo(7), expect.closeTo(-5)])
})

test('the nearest point is found within reach, the same as by looking at all', () => {
  const n = 3_000
  let seed = 1
  const random = () => {
    seed = (seed * 16807) % 2147483647
    return seed / 2147483647
  }
  const [xs, ys] = [Float32Array.from({ length: n }, random), Float32Array.from({ length: n }, random)]
  xs[7] = Number.NaN
  const grid = new Grid(xs, ys, extentOf(xs, ys))
  const all = viewOf(extentOf(xs, ys), size)
  for (const view of [all, zoomAt(all, all, size, 120, 40, 12)]) {
    for (let k = 0; k < 200; k++) {
      const [px, py] = [random() * size.width, random() * size.height]
      let best = -1
      let least = 64
      for (let i = 0; i < n; i++) {
        const [sx, sy] = toScreen(view, size, xs[i], ys[i])
        const distance = (sx - px) ** 2 + (sy - py) ** 2
        if (distance <= least) [best, least] = [i, distance]
      }
      expect(grid.nearest(view, size, px, py, 8)).toBe(best)
    }
  }
  expect(new Grid(x, y, extentOf(x, y)).nearest(whole, size, 200, 100, 3)).toBe(-1)
})

test('a lasso takes what lies inside, also of a line that bends inwards', () => {
  const square = [-1, -1, 3, -1, 3, 3, -1, 3]
  expect([...inside(square, x, y)]).toEqual([0, 4])
  const bent = [-1, -5, 11, -5, 11, 7, 5, 0.5, -1, 7] // a notch from above, down to (5, .5)
  expect([...inside(bent, x, y)]).toEqual([0, 1, 4])
  expect([...inside([], x, y)]).toEqual([])
})

test('a density counts every point that is shown once', () => {
  const { counts, x: across } = density(x, y, 8)
  expect(counts.flat().reduce((a, b) => a + b)).toBe(4)
  expect(across).toHaveLength(8)
  expect(counts[7].some((c) => c === 1)).toBe(true) // the highest point is in the last row
})
