// The line between two panels: drag it, or move it with the arrow keys; a double click gives the first size back.
import { useLocalStorage } from '@mantine/hooks'
import { type KeyboardEvent, type PointerEvent, useRef } from 'react'

const STEP = 16

interface Limits {
  first: number
  least: number
  most: number
}

/** A size in pixels that this browser remembers. */
export function useSize(key: string, { first, least, most }: Limits) {
  const [stored, set] = useLocalStorage({ key, defaultValue: first, getInitialValueInEffect: false })
  const within = (value: number) => Math.round(Math.max(least, Math.min(most, value)))
  const size = Number.isFinite(stored) ? within(stored) : first
  return { size, set: (value: number) => set(within(value)), first, least, most }
}

export function Splitter({
  name,
  between,
  grows,
  of,
}: {
  name: string
  /** How the panels stand: the line between panels in a row is vertical. */
  between: 'row' | 'column'
  /** Which of the two has the size. */
  grows: 'before' | 'after'
  of: ReturnType<typeof useSize>
}) {
  const began = useRef<{ at: number; size: number } | null>(null)
  const sign = grows === 'before' ? 1 : -1
  const place = (event: PointerEvent) => (between === 'row' ? event.clientX : event.clientY)
  const down = (event: PointerEvent<HTMLDivElement>) => {
    event.preventDefault()
    event.currentTarget.setPointerCapture(event.pointerId)
    began.current = { at: place(event), size: of.size }
  }
  const move = (event: PointerEvent) => {
    if (began.current) of.set(began.current.size + sign * (place(event) - began.current.at))
  }
  const key = (event: KeyboardEvent) => {
    const [less, more] = between === 'row' ? ['ArrowLeft', 'ArrowRight'] : ['ArrowUp', 'ArrowDown']
    if (event.key !== less && event.key !== more) return
    event.preventDefault()
    event.stopPropagation() // the gallery's arrows must not move as well
    of.set(of.size + sign * (event.key === more ? STEP : -STEP))
  }
  return (
    <div
      role="separator"
      tabIndex={0}
      className="splitter"
      data-between={between}
      aria-label={name}
      aria-orientation={between === 'row' ? 'vertical' : 'horizontal'}
      aria-valuenow={of.size}
      aria-valuemin={of.least}
      aria-valuemax={of.most}
      onPointerDown={down}
      onPointerMove={move}
      onPointerUp={() => {
        began.current = null
      }}
      onDoubleClick={() => of.set(of.first)}
      onKeyDown={key}
    />
  )
}
