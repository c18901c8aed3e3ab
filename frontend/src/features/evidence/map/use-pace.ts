// Drawing at the machine's pace. With a graphics card a million points are a frame's work. Without one they take most of a
// second, in which the page answers no key: then a map that opens or is moved is drawn with fewer of the points that are not
// suspects, and with all of them when it rests.
import { useEffect, useRef } from 'react'
import type { View } from '@/lib/plane'

const SLOW_MS = 40
const REST_MS = 250
/** A page that opens has more to draw: the first drawing of all points waits for it. */
const FIRST_REST_MS = 750
/** What a thinned drawing may take. */
const THIN_MS = 20
/** A graphics library takes no greater distance between points. */
export const MOST_STRIDE = 31
const N_FRAMES = 3
const MANY = 200_000
const MANY_MS = 200

/** Of every so many points one is drawn while the map moves, if a whole drawing takes so long. */
export const strideFor = (wholeMs: number): number => Math.max(1, Math.min(MOST_STRIDE, Math.ceil(wholeMs / THIN_MS)))

/** Calls `paint` with 1 (all n points) or more (one of so many) whenever it is another function. */
export function usePace(paint: ((stride: number) => void) | null, view: View, n: number): void {
  const painted = useRef<View | null>(null)
  // Before the first drawing nobody knows how long it takes.
  const wholeMs = useRef(n > MANY ? MANY_MS : 0)
  useEffect(() => {
    if (!paint) return
    const isFirst = painted.current === null
    const moved = painted.current !== view
    let frame = 0
    const draw = (stride: number) => {
      frame = requestAnimationFrame((began) => {
        paint(stride)
        painted.current = view
        if (stride === 1) longestFrame(began, (ms) => (wholeMs.current = ms))
      })
    }
    if (wholeMs.current <= SLOW_MS) {
      draw(1)
      return () => cancelAnimationFrame(frame)
    }
    if (moved) draw(strideFor(wholeMs.current))
    const timer = setTimeout(() => draw(1), isFirst ? FIRST_REST_MS : REST_MS)
    return () => {
      clearTimeout(timer)
      cancelAnimationFrame(frame)
    }
  }, [paint, view])
}

/** The longest of the next frames: a drawing ends some time after the call, and holds them up. */
function longestFrame(began: number, tell: (ms: number) => void): void {
  let [left, longest, last] = [N_FRAMES, 0, began]
  const step = (now: number) => {
    longest = Math.max(longest, now - last)
    last = now
    left--
    if (left > 0) requestAnimationFrame(step)
    else tell(longest)
  }
  requestAnimationFrame(step)
}
