// How fast something goes, from what has been done at which time: over the last seconds, so that a pause is forgotten.

const WINDOW_MS = 5000
const LEAST_MS = 500

/** A function of (amount done so far, time in ms) that answers with the amount per second; null until it is known. */
export function meter(): (done: number, at: number) => number | null {
  let seen: { done: number; at: number }[] = []
  return (done, at) => {
    // Less than before: it was taken up at an earlier place.
    if (seen.length > 0 && done < seen[seen.length - 1].done) seen = []
    seen.push({ done, at })
    while (seen.length > 2 && at - seen[1].at >= WINDOW_MS) seen.shift()
    const first = seen[0]
    return at - first.at < LEAST_MS ? null : (1000 * (done - first.done)) / (at - first.at)
  }
}
