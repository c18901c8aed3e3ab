// Equal-width bins for the score histogram.
import type { Values } from './columns'

export interface Bins {
  start: number
  width: number
  centres: number[]
}

/** Bins over the finite range of the values; the far tails beyond the 0.05 % quantiles share the outermost bins. */
export function makeBins(values: Values, n: number): Bins {
  // The browser's own sort puts infinity and what is not a number at the ends.
  const all = values.slice().sort()
  let [first, last] = [0, all.length]
  while (last > 0 && !Number.isFinite(all[last - 1])) last--
  while (first < last && !Number.isFinite(all[first])) first++
  const sorted = all.subarray(first, last)
  if (sorted.length === 0) return { start: 0, width: 1, centres: Array.from({ length: n }, (_, i) => i + 0.5) }
  const tail = Math.floor(sorted.length * 0.0005)
  const low = sorted[tail]
  const high = sorted[sorted.length - 1 - tail]
  const width = high > low ? (high - low) / n : Math.abs(low) * 0.01 || 1
  const start = high > low ? low : low - (width * n) / 2
  return { start, width, centres: Array.from({ length: n }, (_, i) => start + (i + 0.5) * width) }
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
