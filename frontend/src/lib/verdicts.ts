// A verdict is one reviewer's judgement of one training image. Colour AND shape carry it, everywhere the same.
export type VerdictValue = 'poison' | 'clean' | 'unsure'

export const verdictLabel: Record<VerdictValue, string> = { poison: 'Poison', clean: 'Clean', unsure: 'Unsure' }

export interface VerdictChange {
  index: number
  verdict: VerdictValue | null
}

/** The verdicts after a change, without touching the old map: a `null` takes a verdict back. */
export function applyChanges(
  verdicts: ReadonlyMap<number, VerdictValue>,
  changes: readonly VerdictChange[],
): Map<number, VerdictValue> {
  const next = new Map(verdicts)
  for (const { index, verdict } of changes) {
    if (verdict === null) next.delete(index)
    else next.set(index, verdict)
  }
  return next
}

/** Whether two maps say the same of the same images. */
export function isSame(a: ReadonlyMap<number, VerdictValue>, b: ReadonlyMap<number, VerdictValue>): boolean {
  if (a.size !== b.size) return false
  for (const [index, verdict] of a) if (b.get(index) !== verdict) return false
  return true
}

/** What to post to undo a change. */
export function inverse(
  verdicts: ReadonlyMap<number, VerdictValue>,
  changes: readonly VerdictChange[],
): VerdictChange[] {
  return changes.map(({ index }) => ({ index, verdict: verdicts.get(index) ?? null }))
}

/** The next image without a verdict after a place in the gallery's order, going round once; null when all are judged. */
export function nextUndecided(
  order: ArrayLike<number>,
  from: number,
  step: 1 | -1,
  isJudged: (index: number) => boolean,
): number | null {
  const n = order.length
  for (let k = 1; k <= n; k++) {
    const place = (((from + step * k) % n) + n) % n
    if (!isJudged(order[place])) return place
  }
  return null
}
