// A picture at whole-number zoom with hard pixels.
import { type CSSProperties, useState } from 'react'

/** `size`: the space to fill at most, CSS pixels; the zoom is the largest whole number that fits. */
export function PixelImage({
  src,
  alt,
  size,
  style,
}: {
  src: string
  alt: string
  size: number
  style?: CSSProperties
}) {
  const [edge, setEdge] = useState<{ width: number; height: number } | null>(null)
  const zoom = edge ? size / Math.max(edge.width, edge.height) : 1
  const whole = zoom >= 1 ? Math.floor(zoom) : zoom
  return (
    <img
      src={src}
      alt={alt}
      className="pixels"
      draggable={false}
      onLoad={(e) => setEdge({ width: e.currentTarget.naturalWidth, height: e.currentTarget.naturalHeight })}
      style={{
        width: edge ? edge.width * whole : size,
        height: edge ? edge.height * whole : size,
        ...style,
      }}
    />
  )
}
