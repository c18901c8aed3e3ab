// Points in a plane: how they stand on a screen, which one lies under the pointer, which lie inside a lasso. Pure.

/** What a screen of width x height shows: the centre in the points' own units, and pixels for each unit on either axis. */
export interface View {
  x: number
  y: number
  kx: number
  ky: number
}

export interface Size {
  width: number
  height: number
}

/** Room around the points, as a share of the screen. */
const MARGIN = 0.06
const MOST_ZOOM = 5_000

/** The least box around the points. */
export interface Extent {
  left: number
  right: number
  bottom: number
  top: number
}

/** Where the points lie; not a number means that a point is not shown. */
export function extentOf(x: Float32Array, y: Float32Array): Extent {
  let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity]
  for (let i = 0; i < x.length; i++) {
    if (Number.isNaN(x[i])) continue
    left = Math.min(left, x[i])
    right = Math.max(right, x[i])
    bottom = Math.min(bottom, y[i])
    top = Math.max(top, y[i])
  }
  return { left, right, bottom, top }
}

/** The view that shows all points. */
export function viewOf({ left, right, bottom, top }: Extent, { width, height }: Size): View {
  if (left > right) return { x: 0, y: 0, kx: 1, ky: 1 }
  const room = 1 - 2 * MARGIN
  return {
    x: (left + right) / 2,
    y: (bottom + top) / 2,
    kx: (room * width) / Math.max(right - left, 1e-9),
    ky: (room * height) / Math.max(top - bottom, 1e-9),
  }
}

/** Pixels from the upper left corner. */
export function toScreen(view: View, size: Size, x: number, y: number): [number, number] {
  return [size.width / 2 + (x - view.x) * view.kx, size.height / 2 - (y - view.y) * view.ky]
}

export function toPlane(view: View, size: Size, px: number, py: number): [number, number] {
  return [view.x + (px - size.width / 2) / view.kx, view.y - (py - size.height / 2) / view.ky]
}

/** Larger or smaller, with what is under the pointer kept there. `whole`: the view of all points. */
export function zoomAt(view: View, whole: View, size: Size, px: number, py: number, factor: number): View {
  const wanted = Math.max(0.5, Math.min(MOST_ZOOM, (view.kx / whole.kx) * factor))
  const [x, y] = toPlane(view, size, px, py)
  const [kx, ky] = [whole.kx * wanted, whole.ky * wanted]
  return { x: x - (px - size.width / 2) / kx, y: y + (py - size.height / 2) / ky, kx, ky }
}

export function panBy(view: View, dx: number, dy: number): View {
  return { ...view, x: view.x - dx / view.kx, y: view.y + dy / view.ky }
}

/** Points by the cell of a grid that they lie in, to find the nearest one without looking at all of them. */
export class Grid {
  private static readonly EDGE = 256
  private readonly starts: Int32Array
  private readonly rows: Int32Array
  private readonly left: number
  private readonly bottom: number
  private readonly across: number
  private readonly up: number

  constructor(
    private readonly x: Float32Array,
    private readonly y: Float32Array,
    extent: Extent,
  ) {
    const whole = viewOf(extent, { width: 1, height: 1 })
    const room = 1 - 2 * MARGIN
    this.left = whole.x - room / whole.kx / 2
    this.bottom = whole.y - room / whole.ky / 2
    this.across = (Grid.EDGE * whole.kx) / room
    this.up = (Grid.EDGE * whole.ky) / room
    const cells = new Int32Array(x.length)
    this.starts = new Int32Array(Grid.EDGE * Grid.EDGE + 1)
    for (let i = 0; i < x.length; i++) {
      cells[i] = Number.isNaN(x[i]) ? -1 : this.row(y[i]) * Grid.EDGE + this.column(x[i])
      if (cells[i] >= 0) this.starts[cells[i] + 1]++
    }
    for (let c = 0; c < Grid.EDGE * Grid.EDGE; c++) this.starts[c + 1] += this.starts[c]
    this.rows = new Int32Array(this.starts[Grid.EDGE * Grid.EDGE])
    const next = this.starts.slice()
    for (let i = 0; i < x.length; i++) if (cells[i] >= 0) this.rows[next[cells[i]]++] = i
  }

  /** The point nearest to a place of the screen, within `reach` pixels; -1 without one. */
  nearest(view: View, size: Size, px: number, py: number, reach: number): number {
    const [x, y] = toPlane(view, size, px, py)
    const [dx, dy] = [reach / view.kx, reach / view.ky]
    let best = -1
    let least = reach * reach
    for (let row = this.row(y - dy); row <= this.row(y + dy); row++) {
      const cell = row * Grid.EDGE
      for (let k = this.starts[cell + this.column(x - dx)]; k < this.starts[cell + this.column(x + dx) + 1]; k++) {
        const i = this.rows[k]
        const distance = ((this.x[i] - x) * view.kx) ** 2 + ((this.y[i] - y) * view.ky) ** 2
        if (distance <= least) [best, least] = [i, distance]
      }
    }
    return best
  }

  private column(x: number): number {
    return Math.max(0, Math.min(Grid.EDGE - 1, Math.floor((x - this.left) * this.across)))
  }

  private row(y: number): number {
    return Math.max(0, Math.min(Grid.EDGE - 1, Math.floor((y - this.bottom) * this.up)))
  }
}

/** The points inside a closed line, by the even-odd rule. polygon: x and y in turn, in the points' own units. */
export function inside(polygon: readonly number[], x: Float32Array, y: Float32Array): Int32Array {
  const n = polygon.length / 2
  let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity]
  for (let k = 0; k < n; k++) {
    left = Math.min(left, polygon[2 * k])
    right = Math.max(right, polygon[2 * k])
    bottom = Math.min(bottom, polygon[2 * k + 1])
    top = Math.max(top, polygon[2 * k + 1])
  }
  const found = new Int32Array(x.length)
  let count = 0
  for (let i = 0; i < x.length; i++) {
    const [px, py] = [x[i], y[i]]
    if (!(px >= left && px <= right && py >= bottom && py <= top)) continue
    let within = false
    for (let k = 0, j = n - 1; k < n; j = k++) {
      const [ay, by] = [polygon[2 * k + 1], polygon[2 * j + 1]]
      if (ay > py === by > py) continue
      const [ax, bx] = [polygon[2 * k], polygon[2 * j]]
      if (px < ax + ((py - ay) / (by - ay)) * (bx - ax)) within = !within
    }
    if (within) found[count++] = i
  }
  return found.slice(0, count)
}

/** How many points fall into each of bins x bins cells, the lowest row first: a picture for where WebGL is absent. */
export function density(x: Float32Array, y: Float32Array, bins: number) {
  const { x: cx, y: cy, kx, ky } = viewOf(extentOf(x, y), { width: bins, height: bins })
  const counts = Array.from({ length: bins }, () => new Array<number>(bins).fill(0))
  for (let i = 0; i < x.length; i++) {
    if (Number.isNaN(x[i])) continue
    const column = Math.floor(bins / 2 + (x[i] - cx) * kx)
    const row = Math.floor(bins / 2 + (y[i] - cy) * ky)
    counts[row][column]++
  }
  const at = (k: number, c: number, scale: number) => c + (k + 0.5 - bins / 2) / scale
  const places = Array.from({ length: bins }, (_, k) => k)
  return { counts, x: places.map((k) => at(k, cx, kx)), y: places.map((k) => at(k, cy, ky)) }
}
