// The virtual gallery: an ARIA grid of thumbnails cut from lossless sheets. Only the rows in view exist, so that 50,000
// images open as fast as fifty. It shows an order of image indices; who orders and filters them is not its business.
import { useVirtualizer } from '@tanstack/react-virtual'
import { memo, type PointerEvent, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react'
import type { Atlas } from '@/client'
import { type Thumbnail, Thumbnails, thumbnailOf } from '@/lib/atlas'
import { type VerdictValue, verdictLabel } from '@/lib/verdicts'
import { Mark } from './marks'

const GAP = 4
const BORDER = 4
/** Browsers cut off what is much taller than this, in pixels. */
const TALLEST = 16_000_000

/** One image cut out of its sheet; edge: of a tile on the screen, pixels. */
function Cut({ thumbnail, edge }: { thumbnail: Thumbnail; edge: number }) {
  const { url, columns, rows, x, y } = thumbnail
  return (
    <span
      className="tile-picture"
      style={{
        display: 'block',
        width: edge,
        height: edge,
        backgroundImage: `url(${url})`,
        backgroundPosition: `-${x * edge}px -${y * edge}px`,
        backgroundSize: `${columns * edge}px ${rows * edge}px`,
      }}
    />
  )
}

/** The thumbnail of an image outside a gallery, at whole-number zoom; among: see `thumbnailOf`. */
export function TilePicture(props: {
  datasetId: string
  atlas: Atlas
  index: number
  zoom: number
  among?: readonly number[]
}) {
  const { datasetId, atlas, index, zoom, among } = props
  return <Cut thumbnail={thumbnailOf(datasetId, atlas, index, among)} edge={atlas.tile * zoom} />
}

interface TileProps {
  index: number
  thumbnail: Thumbnail
  edge: number
  column: number
  label: string
  verdict: VerdictValue | null
  selected: boolean
  focused: boolean
  onPick: (index: number, event: { shiftKey: boolean; ctrlKey: boolean; metaKey: boolean }) => void
}

const GalleryTile = memo(function GalleryTile(props: TileProps) {
  const { index, thumbnail, edge, column, label, verdict, selected, focused, onPick } = props
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the grid that holds the tiles handles every key
    <div
      id={`tile-${index}`}
      role="gridcell"
      tabIndex={-1}
      aria-selected={selected}
      aria-colindex={column + 1}
      aria-label={`Image ${index}, ${label}${verdict ? `, judged ${verdictLabel[verdict].toLowerCase()}` : ''}`}
      className="tile"
      data-index={index}
      data-verdict={verdict ?? undefined}
      data-focused={focused || undefined}
      title={`#${index} · ${label}`}
      onClick={(event) => onPick(index, event)}
    >
      <Cut thumbnail={thumbnail} edge={edge} />
      {verdict && (
        <span className="mark">
          <Mark kind={verdict} size={10} />
        </span>
      )}
    </div>
  )
})

export interface GalleryProps {
  datasetId: string
  atlas: Atlas
  order: Int32Array
  /** Images that may come next. */
  likely?: Int32Array
  zoom: number
  selected: ReadonlySet<number>
  focused: number | null
  labelOf: (index: number) => string
  verdictOf?: (index: number) => VerdictValue | null
  onPick: (index: number, event: { shiftKey: boolean; ctrlKey: boolean; metaKey: boolean }) => void
  onColumns?: (columns: number) => void
  name: string
  multiselect?: boolean
}

/** How a grid of n tiles stands in a width; a million large tiles are drawn smaller than asked, so that all can be reached. */
export function layout(n: number, tile: number, asked: number, width: number) {
  for (let zoom = asked; ; zoom--) {
    const cell = tile * zoom + BORDER + GAP
    const columns = Math.max(1, Math.floor((width - 8 + GAP) / cell))
    const rows = Math.ceil(n / columns)
    if (zoom <= 1 || width === 0 || rows * cell <= TALLEST) return { zoom, cell, columns, rows }
  }
}

export const Gallery = memo(function Gallery(props: GalleryProps) {
  const { datasetId, atlas, order, likely, selected, focused, labelOf, verdictOf, onPick, onColumns } = props
  const scroller = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  const { zoom, cell, columns, rows } = layout(order.length, atlas.tile, props.zoom, width)

  const thumbnails = useMemo(() => new Thumbnails(datasetId, atlas), [datasetId, atlas])

  useLayoutEffect(() => {
    const node = scroller.current
    if (!node) return
    setWidth(node.clientWidth)
    const observer = new ResizeObserver(() => setWidth(node.clientWidth))
    observer.observe(node)
    return () => observer.disconnect()
  }, [])
  useEffect(() => onColumns?.(columns), [columns, onColumns])

  const virtual = useVirtualizer({
    count: rows,
    getScrollElement: () => scroller.current,
    estimateSize: () => cell,
    overscan: 4,
  })
  // biome-ignore lint/correctness/useExhaustiveDependencies: sizes change with the zoom only
  useEffect(() => virtual.measure(), [cell])

  // The focused image stays in view when the keyboard moves it.
  const focusedPlace = useMemo(() => (focused === null ? -1 : order.indexOf(focused)), [focused, order])
  const focusedRow = focusedPlace < 0 ? -1 : Math.floor(focusedPlace / columns)
  useEffect(() => {
    if (focusedRow >= 0) virtual.scrollToIndex(focusedRow, { align: 'auto' })
  }, [focusedRow, virtual])
  const drawnRows = width > 0 ? virtual.getVirtualItems() : []
  // A filter may leave the focused image out, and rows out of sight do not exist: nothing may point at them.
  const isDrawn = drawnRows.some((row) => row.index === focusedRow)

  const keepFocus = (event: PointerEvent) => {
    // A click on a tile must not take the keyboard away from the grid.
    event.preventDefault()
    scroller.current?.focus({ preventScroll: true })
  }

  return (
    <div
      ref={scroller}
      role="grid"
      tabIndex={0}
      className="gallery"
      aria-label={props.name}
      aria-rowcount={rows}
      aria-colcount={columns}
      aria-multiselectable={props.multiselect ?? false}
      aria-activedescendant={isDrawn ? `tile-${focused}` : undefined}
      data-count={order.length}
      onPointerDown={keepFocus}
    >
      <div role="presentation" style={{ height: virtual.getTotalSize(), position: 'relative' }}>
        {drawnRows.map((row) => (
          <div
            key={row.key}
            role="row"
            tabIndex={-1}
            aria-rowindex={row.index + 1}
            style={{
              position: 'absolute',
              top: 0,
              left: 0,
              transform: `translateY(${row.start}px)`,
              display: 'flex',
              gap: GAP,
            }}
          >
            {Array.from(order.subarray(row.index * columns, (row.index + 1) * columns), (index, column) => (
              <GalleryTile
                key={index}
                index={index}
                thumbnail={thumbnails.at(order, row.index * columns + column, likely)}
                edge={atlas.tile * zoom}
                column={column}
                label={labelOf(index)}
                verdict={verdictOf?.(index) ?? null}
                selected={selected.has(index)}
                focused={focused === index}
                onPick={onPick}
              />
            ))}
          </div>
        ))}
      </div>
    </div>
  )
})
