// What each point of the map looks like. Meaning has colour and shape, as everywhere (Okabe-Ito); scores are viridis.
import { type CaseColumns, filterRows, maskOf, sortRows } from '@/lib/columns'
import type { VerdictValue } from '@/lib/verdicts'
import { DIM, SELECTED, shape } from './point-layer'

export type ColourBy = 'score' | 'label' | 'verdict'

type Rgb = readonly [number, number, number]

/** matplotlib's viridis (Smith and van der Walt 2015), nine of its 256 colours. */
export const VIRIDIS: readonly Rgb[] = [
  [68, 1, 84],
  [71, 45, 123],
  [59, 82, 139],
  [44, 114, 142],
  [33, 144, 141],
  [39, 173, 129],
  [92, 200, 99],
  [170, 220, 50],
  [253, 231, 37],
]
/** Okabe and Ito 2008, and the same half as bright. */
const LABELS: readonly Rgb[] = [
  [230, 159, 0],
  [86, 180, 233],
  [0, 158, 115],
  [240, 228, 66],
  [0, 114, 178],
  [213, 94, 0],
  [204, 121, 167],
  [141, 146, 150],
]
const verdictLook: Record<VerdictValue, { colour: Rgb; form: number }> = {
  poison: { colour: [213, 94, 0], form: shape.diamond },
  clean: { colour: [0, 158, 115], form: shape.circle },
  unsure: { colour: [230, 159, 0], form: shape.half },
}
const GREY: Rgb = [141, 146, 150]

/** A colour of viridis; share from 0 to 1. */
export function viridis(share: number): Rgb {
  const at = Math.max(0, Math.min(1, share)) * (VIRIDIS.length - 1)
  const k = Math.min(VIRIDIS.length - 2, Math.floor(at))
  return VIRIDIS[k].map((from, channel) => Math.round(from + (at - k) * (VIRIDIS[k + 1][channel] - from))) as never
}

/** The colour of a score; on a dark page without the darkest fifth of viridis, which nobody would see there. */
export function scoreColour(share: number, dark: boolean): Rgb {
  return viridis(dark ? 0.2 + 0.8 * share : share)
}

export function labelColour(label: number): Rgb {
  const colour = LABELS[label % LABELS.length]
  return Math.floor(label / LABELS.length) % 2 === 0 ? colour : (colour.map((c) => c >> 1) as never)
}

/** The order to draw in: suspects over the others, the most suspicious on top. */
export function drawingOrder(columns: CaseColumns): Int32Array {
  const { n, suspect, posterior } = columns
  const suspects = sortRows(
    filterRows(n, (row) => suspect[row] === 1),
    posterior,
    'asc',
  )
  const order = new Int32Array(n)
  order.set(filterRows(n, (row) => suspect[row] === 0))
  order.set(suspects, n - suspects.length)
  return order
}

/** Least and greatest collapse score of the suspects. */
export function scoreRange({ n, suspect, collapse_score }: CaseColumns): [number, number] {
  let [low, high] = [Infinity, -Infinity]
  for (let row = 0; row < n; row++) {
    if (!suspect[row]) continue
    low = Math.min(low, collapse_score[row])
    high = Math.max(high, collapse_score[row])
  }
  return low < high ? [low, high] : [0, 1]
}

/** Colours [4 n] and looks [n] by row. shown: [n] whether an image passes the gallery's filters. */
export function dress(
  columns: CaseColumns,
  by: ColourBy,
  verdicts: ReadonlyMap<number, VerdictValue>,
  selected: ReadonlySet<number>,
  shown: Uint8Array,
  dark = false,
): { colours: Uint8Array; looks: Uint8Array } {
  const { n, label, suspect, collapse_score } = columns
  const chosen = maskOf(n, selected)
  const colours = new Uint8Array(4 * n)
  const looks = new Uint8Array(n)
  const [low, high] = scoreRange(columns)
  const scale = Array.from({ length: 256 }, (_, k) => scoreColour(k / 255, dark))
  const labels = Array.from({ length: 2 * LABELS.length }, (_, k) => labelColour(k))
  for (let row = 0; row < n; row++) {
    let colour = GREY
    if (by === 'score') {
      const share = (collapse_score[row] - low) / (high - low)
      if (suspect[row]) colour = scale[Math.max(0, Math.min(255, Math.round(255 * share)))]
    } else if (by === 'label') colour = labels[label[row] % labels.length]
    else looks[row] = suspect[row] ? shape.ring : shape.dot
    colours[4 * row] = colour[0]
    colours[4 * row + 1] = colour[1]
    colours[4 * row + 2] = colour[2]
    colours[4 * row + 3] = suspect[row] ? 230 : 110
    if (chosen[row]) looks[row] |= SELECTED
    if (!shown[row]) looks[row] |= DIM
  }
  if (by === 'verdict') {
    for (const [row, verdict] of verdicts) {
      const { colour, form } = verdictLook[verdict]
      colours.set(colour, 4 * row)
      looks[row] = form | (looks[row] & (SELECTED | DIM))
    }
  }
  return { colours, looks }
}
