// Two pictures under one looking glass: what is enlarged in one is enlarged at the same place in the other.
import { type PointerEvent, type ReactNode, useEffect, useRef } from 'react'

export interface Glass {
  /** 1: the whole picture. */
  scale: number
  /** Of the left upper corner of what is seen, as a share of the picture. */
  x: number
  y: number
}

export const wholePicture: Glass = { scale: 1, x: 0, y: 0 }
const MOST = 16

const within = (scale: number, x: number, y: number): Glass => {
  const room = 1 - 1 / scale
  return { scale, x: Math.max(0, Math.min(room, x)), y: Math.max(0, Math.min(room, y)) }
}

/** Enlarged by a factor around a place of the box (shares of its edges), which stays where it is. */
export function enlarged(glass: Glass, factor: number, px = 0.5, py = 0.5): Glass {
  const scale = Math.max(1, Math.min(MOST, glass.scale * factor))
  return within(scale, glass.x + px / glass.scale - px / scale, glass.y + py / glass.scale - py / scale)
}

/** Moved with the pointer, by shares of the box. */
export function moved(glass: Glass, dx: number, dy: number): Glass {
  return within(glass.scale, glass.x - dx / glass.scale, glass.y - dy / glass.scale)
}

/** The next of 1, 2, 4 and 8 times, about the middle. */
export function nextScale(glass: Glass): Glass {
  return glass.scale >= 8 ? wholePicture : enlarged(glass, 2)
}

export function ZoomBox({
  glass,
  change,
  children,
}: {
  glass: Glass
  change: (how: (glass: Glass) => Glass) => void
  children: ReactNode
}) {
  const box = useRef<HTMLDivElement>(null)
  const isWhole = glass.scale === 1
  useEffect(() => {
    const node = box.current
    if (!node) return
    const onWheel = (event: WheelEvent) => {
      if (isWhole && event.deltaY > 0) return // there is nothing to see further off: the page scrolls
      event.preventDefault() // React's own listener may not
      const edge = node.getBoundingClientRect()
      const [px, py] = [(event.clientX - edge.left) / edge.width, (event.clientY - edge.top) / edge.height]
      change((now) => enlarged(now, Math.exp(-event.deltaY / 300), px, py))
    }
    node.addEventListener('wheel', onWheel, { passive: false })
    return () => node.removeEventListener('wheel', onWheel)
  }, [change, isWhole])
  const drag = (event: PointerEvent<HTMLDivElement>) => {
    if (!event.buttons || isWhole) return
    const { width, height } = event.currentTarget.getBoundingClientRect()
    change((now) => moved(now, event.movementX / width, event.movementY / height))
  }
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: a key of the workbench enlarges as well
    <div
      ref={box}
      className="zoom-box"
      onPointerMove={drag}
      onDoubleClick={() => change(() => wholePicture)}
      style={{ cursor: isWhole ? 'zoom-in' : 'grab' }}
    >
      <div
        style={{
          transformOrigin: '0 0',
          transform: `scale(${glass.scale}) translate(${-100 * glass.x}%, ${-100 * glass.y}%)`,
        }}
      >
        {children}
      </div>
    </div>
  )
}
