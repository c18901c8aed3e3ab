// The virtual gallery: an ARIA grid of thumbnails cut from lossless atlases. Only the rows in view exist, so that 50,000
// images open as fast as fifty. It shows an order of image indices; who orders and filters them is not its business.
import { useVirtualizer } from '@tanstack/react-virtual'
import { memo, type PointerEvent, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react'
import type { Atlas } from '@/client'
import { address } from '@/lib/api'
import { tileOf } from '@/lib/atlas'
import { type VerdictValue, verdictLabel } from '@/lib/verdicts'
import { Mark } from './marks'

const GAP = 4
const BORDER = 4
/** Browsers cut off what is much taller than this, in pixels. */
const TALLEST = 16_000_000

interface TilePictureProps {
  datasetId: string
  atlas: Atlas
  index: number
  zoom: number
}

/** One image cut out of its atlas, at whole-number zoom. */
export function TilePicture({ datasetId, atlas, index, zoom }: TilePictureProps) {
  const tile = tileOf(atlas, index)
  const edge = atlas.tile * zoom
  return (
    <span
      className="tile-picture"
      style={{
        display: 'block',
        width: edge,
        height: edge,
        backgroundImage: `url(${address.atlas(datasetId, tile.atlas)})`,
        backgroundPosition: `-${tile.x * zoom}px -${tile.y * zoom}px`,
        backgroundSize: `${atlas.columns * edge}px ${atlas.rows * edge}px`,
      }}
    />
  )
}

interface TileProps extends TilePictureProps {
  column: number
  label: string
  verdict: VerdictValue | null
  selected: boolean
  focused: boolean
  onPick: (index: number, event: { shiftKey: boolean; ctrlKey: boolean; metaKey: boolean }) => void
}

const GalleryTile = memo(function GalleryTile(props: TileProps) {
  const { index, column, label, verdict, selected, focused, onPick } = props
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
      <TilePicture {...props} />
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
  const { datasetId, atlas, order, selected, focused, labelOf, verdictOf, onPick, onColumns } = props
  const scroller = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  const { zoom, cell, columns, rows } = layout(order.length, atlas.tile, props.zoom, width)

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
                datasetId={datasetId}
                atlas={atlas}
                index={index}
                column={column}
                zoom={zoom}
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
