// Equal-width bins for the score histogram.
import type { Values } from './columns'

export interface Bins {
  start: number
  width: number
  centres: number[]
}

const TAIL = 0.0005
const FINE = 65_536
const ROUNDS = 4

/** Bins over the finite range of the values; the far tails beyond the 0.05 % quantiles share the outermost bins. */
export function makeBins(values: Values, n: number): Bins {
  const [low, high] = withoutTails(values)
  if (low > high) return { start: 0, width: 1, centres: Array.from({ length: n }, (_, i) => i + 0.5) }
  const width = high > low ? (high - low) / n : Math.abs(low) * 0.01 || 1
  const start = high > low ? low : low - (width * n) / 2
  return { start, width, centres: Array.from({ length: n }, (_, i) => start + (i + 0.5) * width) }
}

/** The two quantiles, closely, by counting: a million numbers are not sorted in a frame. */
function withoutTails(values: Values): [number, number] {
  let [low, high, count] = [Infinity, -Infinity, 0]
  for (let row = 0; row < values.length; row++) {
    if (!Number.isFinite(values[row])) continue
    count++
    if (values[row] < low) low = values[row]
    if (values[row] > high) high = values[row]
  }
  const tail = Math.floor(count * TAIL)
  if (tail === 0) return [low, high]
  for (let round = 0; round < ROUNDS && low < high; round++) {
    const scale = FINE / (high - low)
    const counts = new Uint32Array(FINE)
    let [below, above] = [0, 0]
    for (let row = 0; row < values.length; row++) {
      const value = values[row]
      if (value < low) below++
      else if (value > high) above++
      else if (value <= high) counts[Math.min(FINE - 1, Math.floor((value - low) * scale))]++
    }
    let [first, last] = [0, FINE - 1]
    for (let left = tail - below; left >= counts[first]; first++) left -= counts[first]
    for (let left = tail - above; left >= counts[last]; last--) left -= counts[last]
    ;[low, high] = [low + first / scale, low + (last + 1) / scale]
    // One value far away makes the bins too wide for the others: then once more between the two.
    if (last - first > FINE / 64) break
  }
  return [low, high]
}

/** Counts in each bin of the rows that pass. */
export function countBins(bins: Bins, values: Values, passes: (row: number) => boolean): number[] {
  const last = bins.centres.length - 1
  const counts = new Array<number>(last + 1).fill(0)
  for (let row = 0; row < values.length; row++) {
    if (!Number.isFinite(values[row]) || !passes(row)) continue
    const bin = Math.floor((values[row] - bins.start) / bins.width)
    counts[Math.max(0, Math.min(last, bin))]++
  }
  return counts
}
