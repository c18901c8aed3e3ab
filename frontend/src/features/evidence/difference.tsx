// The difference of two pictures of the same size, pixel by pixel, on a grey zero: red, green and blue as they differ.
import { useEffect, useRef, useState } from 'react'

function load(src: string): Promise<HTMLImageElement> {
  return new Promise((resolve, reject) => {
    const image = new Image()
    image.onload = () => resolve(image)
    image.onerror = () => reject(new Error(`No picture at ${src}`))
    image.src = src
  })
}

/** gain (a - b) / 2 + 128 in each channel. */
export function subtract(a: Uint8ClampedArray, b: Uint8ClampedArray, gain = 1): Uint8ClampedArray<ArrayBuffer> {
  const out = new Uint8ClampedArray(a.length)
  for (let i = 0; i < a.length; i++) out[i] = i % 4 === 3 ? 255 : (gain * (a[i] - b[i])) / 2 + 128
  return out
}

export function Difference({ a, b, size, gain = 1 }: { a: string; b: string; size: number; gain?: number }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const [edge, setEdge] = useState(size)
  useEffect(() => {
    let alive = true
    Promise.all([load(a), load(b)]).then(
      ([first, second]) => {
        const node = canvas.current
        if (!alive || !node) return
        const { naturalWidth: width, naturalHeight: height } = first
        const pixels = (image: HTMLImageElement) => {
          const scratch = document.createElement('canvas')
          scratch.width = width
          scratch.height = height
          const context = scratch.getContext('2d')
          if (!context) throw new Error('This browser draws no canvas.')
          context.imageSmoothingEnabled = false
          context.drawImage(image, 0, 0, width, height)
          return context.getImageData(0, 0, width, height).data
        }
        node.width = width
        node.height = height
        node
          .getContext('2d')
          ?.putImageData(new ImageData(subtract(pixels(first), pixels(second), gain), width, height), 0, 0)
        const zoom = size / Math.max(width, height)
        setEdge(width * (zoom >= 1 ? Math.floor(zoom) : zoom))
      },
      () => undefined,
    )
    return () => {
      alive = false
    }
  }, [a, b, size, gain])
  return (
    <canvas
      ref={canvas}
      className="pixels"
      style={{ width: edge }}
      role="img"
      aria-label="Difference of the two images"
    />
  )
}
