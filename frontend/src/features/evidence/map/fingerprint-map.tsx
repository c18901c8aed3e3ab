// The map of fingerprints: every training image a point, near to those that pull the model the same way. Drag to move, wheel
// to zoom, lasso to select; the selection is the workbench's own.
import { Select, Skeleton, useComputedColorScheme } from '@mantine/core'
import {
  type PointerEvent,
  type ReactNode,
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from 'react'
import type { Atlas } from '@/client'
import { HowObtained } from '@/components/derived'
import { TilePicture } from '@/components/gallery'
import { Mark } from '@/components/marks'
import { Plot } from '@/components/plot'
import { toProblem } from '@/lib/api'
import { naturalZoom } from '@/lib/atlas'
import { keyName, useBindings } from '@/lib/bindings'
import { type CaseColumns, filterRows } from '@/lib/columns'
import { count, percent, score } from '@/lib/format'
import {
  density,
  type Extent,
  extentOf,
  Grid,
  inside,
  panBy,
  type Size,
  toPlane,
  toScreen,
  type View,
  viewOf,
  zoomAt,
} from '@/lib/plane'
import type { VerdictValue } from '@/lib/verdicts'
import { type ColourBy, drawingOrder, dress, scoreColour, scoreRange, VIRIDIS } from './looks'
import { PointLayer } from './point-layer'
import { type MapMethod, useMap } from './use-map'
import { usePace } from './use-pace'

const REACH = 8
const STEP = 1.5
const BINS = 64
/** A lasso shorter than this is a click. */
const LEAST_LASSO = 8

const none: ReadonlyMap<number, VerdictValue> = new Map()

export type MapTool = 'pan' | 'lasso'
export type HowSelected = 'replace' | 'extend' | 'toggle'

export interface MapProps {
  caseId: string
  /** Whether the points are drawn yet, where they are there. */
  isReady: boolean
  datasetId: string
  atlas: Atlas
  columns: CaseColumns
  verdicts: ReadonlyMap<number, VerdictValue>
  selected: ReadonlySet<number>
  /** [n] whether each image passes the gallery's filters. */
  shown: Uint8Array
  labelOf: (index: number) => string
  method: MapMethod
  colour: ColourBy
  tool: MapTool
  onMethod: (method: MapMethod) => void
  onColour: (colour: ColourBy) => void
  onTool: (tool: MapTool) => void
  onPick: (index: number, event: { shiftKey: boolean; ctrlKey: boolean; metaKey: boolean }) => void
  onLasso: (indices: Int32Array, how: HowSelected) => void
  height: number
  /** What stands first in the map's own row of controls. */
  tabs?: ReactNode
}

export function FingerprintMap(props: MapProps) {
  const { method, colour, tool, columns, onMethod, onColour, onTool } = props
  const map = useMap(props.caseId, method)
  const canDraw = useMemo(hasWebGl, [])
  const keys = useBindings((state) => state.keys)
  return (
    <div className="map">
      <div style={{ display: 'flex', gap: 8, alignItems: 'center', marginBottom: 8, flexWrap: 'wrap' }}>
        {props.tabs}
        <Select
          aria-label="Layout of the map"
          size="xs"
          w={118}
          data={[
            { value: 'pca', label: 'Main axes' },
            { value: 'umap', label: 'Neighbours' },
          ]}
          value={method}
          onChange={(value) => onMethod(value as MapMethod)}
        />
        <Select
          aria-label="Colour of the points"
          size="xs"
          w={104}
          data={[
            { value: 'score', label: 'by score' },
            { value: 'label', label: 'by label' },
            { value: 'verdict', label: 'by verdict' },
          ]}
          value={colour}
          onChange={(value) => onColour(value as ColourBy)}
        />
        {canDraw && (
          <div className="tabs" role="group" aria-label="What dragging does">
            {(['pan', 'lasso'] as const).map((name) => (
              <button
                key={name}
                type="button"
                className="tab"
                aria-pressed={tool === name}
                aria-keyshortcuts={keyName(keys[name])}
                onClick={() => onTool(name)}
              >
                {name === 'pan' ? 'Move' : 'Lasso'} <kbd>{keyName(keys[name])}</kbd>
              </button>
            ))}
          </div>
        )}
        <HowObtained what="the map">
          {method === 'pca'
            ? `Unit fingerprints on the two axes along which the suspects differ most${map.points?.explained ? `; they hold ${percent(map.points.explained[0] + map.points.explained[1], 0)} of the suspects’ variance` : ''}. All training images.`
            : 'UMAP of the suspects’ fingerprints (15 neighbours, after 30 principal components): near ones stay near; distances between groups mean little.'}
        </HowObtained>
      </div>
      {map.error ? (
        <Message height={props.height}>{toProblem(map.error).detail}</Message>
      ) : map.failure ? (
        <Message height={props.height}>
          {map.failure}{' '}
          <button type="button" className="tab" onClick={map.again}>
            Try again
          </button>
        </Message>
      ) : !map.points || !props.isReady ? (
        <div style={{ position: 'relative' }}>
          <Skeleton height={props.height} />
          <div className="map-state" role="status">
            {map.job
              ? `${map.job.phase || 'waiting for a worker'} · ${percent(map.job.progress, 0)}`
              : 'Drawing the map…'}
          </div>
        </div>
      ) : canDraw ? (
        <Points key={method} {...props} x={map.points.x} y={map.points.y} />
      ) : (
        <Density x={map.points.x} y={map.points.y} height={props.height} />
      )}
      <Legend colour={colour} columns={columns} shown={map.points?.shown} />
    </div>
  )
}

function Points(props: MapProps & { x: Float32Array; y: Float32Array }) {
  const { x, y, columns, colour, verdicts, selected, shown, tool, datasetId, atlas, labelOf, height, onPick, onLasso } =
    props
  const dark = useComputedColorScheme('light') === 'dark'
  const canvas = useRef<HTMLCanvasElement>(null)
  const layer = useRef<PointLayer | null>(null)
  const [size, setSize] = useState<Size>({ width: 0, height })
  const extent = useMemo(() => extentOf(x, y), [x, y])
  const whole = useMemo(() => viewOf(extent, size), [extent, size])
  const [moved, setMoved] = useState<View | null>(null)
  const view = moved ?? whole
  // Made when the pointer first asks for a point: nobody shall wait for it before the map is drawn.
  const made = useRef<{ extent: Extent; grid: Grid } | null>(null)
  const nearest = (px: number, py: number): number => {
    if (made.current?.extent !== extent) made.current = { extent, grid: new Grid(x, y, extent) }
    return made.current.grid.nearest(view, size, px, py, REACH)
  }
  const [hovered, setHovered] = useState(-1)
  const [lasso, setLasso] = useState<number[]>([])

  useLayoutEffect(() => {
    const node = canvas.current?.parentElement
    if (!node) return
    const measure = () => setSize({ width: node.clientWidth, height })
    measure()
    const observer = new ResizeObserver(measure)
    observer.observe(node)
    return () => observer.disconnect()
  }, [height])
  useEffect(() => {
    if (!canvas.current) return
    const nSuspects = filterRows(columns.n, (row) => columns.suspect[row] === 1).length
    const made = new PointLayer(canvas.current, x, y, drawingOrder(columns), nSuspects)
    layer.current = made
    return () => {
      layer.current = null
      made.free()
    }
  }, [x, y, columns])

  const shownVerdicts = colour === 'verdict' ? verdicts : none
  const clothes = useMemo(
    () => dress(columns, colour, shownVerdicts, selected, shown, dark),
    [columns, colour, shownVerdicts, selected, shown, dark],
  )
  const dressed = useRef<unknown>(null)
  const paint = useMemo(() => {
    if (size.width === 0) return null
    return (stride: number) => {
      if (dressed.current !== clothes || layer.current?.isNew()) layer.current?.dress(clothes.colours, clothes.looks)
      dressed.current = clothes
      // Dots grow a little as one comes nearer.
      const nearer = Math.min(2.5, (view.kx / whole.kx) ** 0.3)
      const ink: [number, number, number] = dark ? [1, 1, 1] : [0.1, 0.12, 0.13]
      layer.current?.draw(view, size, (columns.n > 20_000 ? 3 : 5) * nearer, ink, stride)
    }
  }, [clothes, view, whole, size, dark, columns.n])
  usePace(paint, view, columns.n)

  const place = useCallback((event: { clientX: number; clientY: number }): [number, number] => {
    const box = canvas.current?.getBoundingClientRect()
    return [event.clientX - (box?.left ?? 0), event.clientY - (box?.top ?? 0)]
  }, [])
  const zoom = useCallback(
    (factor: number, px = size.width / 2, py = size.height / 2) =>
      setMoved((now) => zoomAt(now ?? whole, whole, size, px, py, factor)),
    [whole, size],
  )
  useEffect(() => {
    const node = canvas.current
    if (!node) return
    const onWheel = (event: WheelEvent) => {
      event.preventDefault() // React's own listener may not
      zoom(Math.exp(-event.deltaY / 400), ...place(event))
    }
    node.addEventListener('wheel', onWheel, { passive: false })
    return () => node.removeEventListener('wheel', onWheel)
  }, [zoom, place])

  const drag = (event: PointerEvent<HTMLCanvasElement>) => {
    if (event.button !== 0) return
    const node = event.currentTarget
    node.setPointerCapture(event.pointerId)
    let last = place(event)
    const first = last
    const line = [...first]
    let far = false
    const move = (e: globalThis.PointerEvent) => {
      const now = place(e)
      far ||= Math.hypot(now[0] - first[0], now[1] - first[1]) > LEAST_LASSO / 2
      if (tool === 'pan') {
        const [dx, dy] = [now[0] - last[0], now[1] - last[1]]
        setMoved((old) => panBy(old ?? whole, dx, dy))
      } else {
        line.push(...now)
        setLasso([...line])
      }
      last = now
    }
    const end = (e: globalThis.PointerEvent) => {
      cancel()
      if (!far) {
        const row = nearest(...place(e))
        if (row >= 0) onPick(columns.index[row], e)
      } else if (tool === 'lasso') {
        const polygon = line.flatMap((_, k) => (k % 2 ? [] : toPlane(view, size, line[k], line[k + 1])))
        const how = e.shiftKey ? 'extend' : e.ctrlKey || e.metaKey ? 'toggle' : 'replace'
        onLasso(inside(polygon, x, y), how)
      }
    }
    const cancel = () => {
      node.removeEventListener('pointermove', move)
      node.removeEventListener('pointerup', end)
      setLasso([])
    }
    node.addEventListener('pointermove', move)
    node.addEventListener('pointerup', end, { once: true })
    node.addEventListener('pointercancel', cancel, { once: true })
  }
  const hover = (event: PointerEvent<HTMLCanvasElement>) => {
    const [px, py] = place(event)
    const row = event.buttons ? -1 : nearest(px, py)
    setHovered(row)
  }

  const tip = hovered < 0 ? null : toScreen(view, size, x[hovered], y[hovered])
  const index = columns.index[hovered]
  return (
    <div className="map-surface" style={{ height }}>
      <canvas
        ref={canvas}
        role="img"
        aria-label={`Map of ${count(columns.n)} fingerprints, ${count(selected.size)} selected`}
        style={{ width: size.width, height: size.height, cursor: tool === 'pan' ? 'grab' : 'crosshair' }}
        onPointerDown={drag}
        onPointerMove={hover}
        onPointerLeave={() => setHovered(-1)}
        onDoubleClick={() => setMoved(null)}
      />
      {lasso.length > 2 && (
        <svg className="map-lasso" width={size.width} height={size.height} aria-hidden="true">
          <polygon points={lasso.join(' ')} />
        </svg>
      )}
      {tip && (
        <div
          className="map-tip"
          style={{
            left: Math.min(tip[0] + 12, size.width - 150),
            top: Math.max(0, Math.min(tip[1] - 32, height - 84)),
          }}
        >
          <TilePicture datasetId={datasetId} atlas={atlas} index={index} zoom={naturalZoom(atlas.tile)} />
          <span>
            <span className="mono">#{index}</span>
            <br />
            {labelOf(index)}
            <br />
            <span className="mono">{score(columns.collapse_score[hovered])}</span>
          </span>
        </div>
      )}
      <div className="map-zoom" role="group" aria-label="Zoom of the map">
        <button type="button" className="tab" aria-label="Nearer" onClick={() => zoom(STEP)}>
          +
        </button>
        <button type="button" className="tab" aria-label="Farther" onClick={() => zoom(1 / STEP)}>
          −
        </button>
        <button type="button" className="tab" aria-label="Show all points" onClick={() => setMoved(null)}>
          ⤢
        </button>
      </div>
    </div>
  )
}

/** Where the browser cannot draw points: how many lie where. */
function Density({ x, y, height }: { x: Float32Array; y: Float32Array; height: number }) {
  const found = useMemo(() => density(x, y, BINS), [x, y])
  const data = useMemo(
    () => [
      {
        type: 'heatmap',
        x: found.x,
        y: found.y,
        z: found.counts.map((row) => row.map((c) => (c ? Math.log10(c) : null))),
        customdata: found.counts,
        colorscale: VIRIDIS.map((c, k) => [k / (VIRIDIS.length - 1), `rgb(${c.join()})`]),
        showscale: false,
        hovertemplate: '%{customdata} images<extra></extra>',
      },
    ],
    [found],
  )
  const layout = useMemo(() => ({ margin: { l: 36, r: 8, t: 8, b: 28 } }), [])
  return <Plot data={data} layout={layout} height={height} label="Density of the fingerprints on the map" />
}

function Legend({ colour, columns, shown }: { colour: ColourBy; columns: CaseColumns; shown: number | undefined }) {
  const [low, high] = useMemo(() => scoreRange(columns), [columns])
  const dark = useComputedColorScheme('light') === 'dark'
  const scale = useMemo(() => Array.from({ length: 9 }, (_, k) => scoreColour(k / 8, dark)), [dark])
  return (
    <div className="map-legend quiet">
      {colour === 'score' && (
        <>
          <span className="mono">{score(low)}</span>
          <span
            className="map-scale"
            style={{ background: `linear-gradient(90deg, ${scale.map((c) => `rgb(${c.join()})`).join()})` }}
          />
          <span className="mono">{score(high)}</span> collapse score of suspects
        </>
      )}
      {colour === 'verdict' &&
        (['poison', 'clean', 'unsure', 'unjudged'] as const).map((kind) => (
          <span key={kind} style={{ display: 'inline-flex', gap: 4, alignItems: 'center' }}>
            <Mark kind={kind} size={10} /> {kind === 'unjudged' ? 'not judged' : kind}
          </span>
        ))}
      {colour === 'label' && 'one colour for each label'}
      {shown !== undefined && <span style={{ marginLeft: 'auto' }}>{count(shown)} points</span>}
    </div>
  )
}

function Message({ height, children }: { height: number; children: ReactNode }) {
  return (
    <div className="empty" style={{ height }}>
      <p>{children}</p>
    </div>
  )
}

function hasWebGl(): boolean {
  const context = document.createElement('canvas').getContext('webgl2')
  // Browsers keep few contexts; this one was only a question.
  context?.getExtension('WEBGL_lose_context')?.loseContext()
  return context !== null
}
