// Histogram of a score, suspects against the rest, with a brush (drag across the bars) and a threshold line that can be
// dragged or moved by arrow keys. While the line moves, only the colours of the bars and the line are redrawn.

import { useComputedColorScheme } from '@mantine/core'
import { type KeyboardEvent, memo, type PointerEvent, useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { countBins, makeBins } from '@/lib/binning'
import { type CaseColumns, scoresOf } from '@/lib/columns'
import { plural, score, share } from '@/lib/format'
import {
  type Axis,
  axisValues,
  countAbove,
  countBeyond,
  cutFor,
  type Ranking,
  readRanking,
  suspiciousSide,
} from '@/lib/threshold'
import { Plot } from './plot'
import type { PlotElement, PlotlyApi } from './plotly'

const N_BINS = 80

export const axisTitle: Record<Axis, string> = {
  collapse_score: 'collapse score (cosine with the collapse direction)',
  shift_mean: 'mean influence shift (negative = collapse)',
  posterior: 'posterior probability of being poison',
  mark_score: 'mark score (standard deviations of clean test images)',
}

/** Of the groups of training images in a histogram, by colour scheme. */
export const groupColours = {
  dark: { rest: '#4a4f54', suspect: '#56b4e9', flagged: '#f0793a' },
  light: { rest: '#c9cdd0', suspect: '#5a9cc4', flagged: '#d55e00' },
}

interface Box {
  left: number
  width: number
  top: number
  height: number
  low: number
  high: number
}

export const ScoreHistogram = memo(function ScoreHistogram({
  columns,
  ranking,
  axis,
  threshold,
  brush,
  onPreview,
  onThreshold,
  onBrush,
  height = 232,
}: {
  columns: CaseColumns
  ranking: Ranking
  axis: Axis
  threshold: number
  brush: [number, number] | null
  /** Called for each step of a drag with the number of images that would be flagged. */
  onPreview: (count: number | null) => void
  onThreshold: (count: number) => void
  onBrush: (range: [number, number] | null) => void
  height?: number
}) {
  const dark = useComputedColorScheme('light') === 'dark'
  const side = suspiciousSide[axis]
  const colours = groupColours[dark ? 'dark' : 'light']
  const bins = useMemo(() => makeBins(scoresOf(columns, axis), N_BINS), [columns, axis])
  const sorted = useMemo(() => axisValues(columns, axis), [columns, axis])
  const [dragCut, setDragCut] = useState<number | null>(null)
  const settledCount = countAbove(ranking, threshold)
  const cut = dragCut ?? cutFor(sorted, settledCount, side)
  const reading = readRanking(ranking, dragCut === null ? settledCount : countBeyond(sorted, dragCut, side))

  const counts = useMemo(() => {
    const { suspect } = columns
    const values = scoresOf(columns, axis)
    return {
      suspects: countBins(bins, values, (row) => suspect[row] === 1),
      rest: countBins(bins, values, (row) => suspect[row] !== 1 && axis !== 'mark_score'), // it is of suspects alone
    }
  }, [bins, columns, axis])
  const barColours = useCallback(
    (at: number | null) =>
      bins.centres.map((x) => (at !== null && (side === 'high' ? x > at : x < at) ? colours.flagged : colours.suspect)),
    [bins, side, colours],
  )

  const data = useMemo(() => {
    const bars = { type: 'bar', x: bins.centres, width: bins.width * 0.92 }
    const hover = `%{y:,} images<br>${axis.replace('_', ' ')} %{x:.3g}`
    return [
      {
        ...bars,
        name: 'other labels',
        y: counts.rest,
        marker: { color: colours.rest },
        hovertemplate: `${hover}<extra>other labels</extra>`,
      },
      {
        ...bars,
        name: 'suspects',
        y: counts.suspects,
        marker: { color: barColours(cutFor(sorted, settledCount, side)) },
        hovertemplate: `${hover}<extra>suspects</extra>`,
      },
    ]
  }, [bins, counts, colours, axis, barColours, sorted, settledCount, side])

  const layout = useMemo(
    () => ({
      barmode: 'overlay',
      showlegend: false,
      dragmode: 'select',
      selectdirection: 'h',
      selectionrevision: brush ? brush.join() : 'none',
      selections: brush
        ? [{ type: 'rect', xref: 'x', yref: 'paper', x0: brush[0], x1: brush[1], y0: 0, y1: 1, line: { width: 1 } }]
        : [],
      margin: { l: 52, r: 12, t: 14, b: 40 },
      xaxis: { title: { text: axisTitle[axis] }, fixedrange: false, zeroline: axis === 'shift_mean' },
      // Few poisons beside many clean images: a logarithmic count shows both.
      yaxis: { title: { text: 'images (log)' }, type: 'log', fixedrange: true, dtick: 1 },
    }),
    [axis, brush],
  )

  const plot = useRef<{ element: PlotElement; plotly: PlotlyApi } | null>(null)
  const [box, setBox] = useState<Box | null>(null)
  const brushHandler = useRef(onBrush)
  brushHandler.current = onBrush
  const onReady = useCallback((element: PlotElement, plotly: PlotlyApi) => {
    const first = plot.current?.element !== element
    plot.current = { element, plotly }
    const layout = element._fullLayout
    if (layout) {
      const { _offset: left, _length: width, range } = layout.xaxis
      setBox({ left, width, top: layout._size.t, height: layout._size.h, low: range[0], high: range[1] })
    }
    if (first) {
      element.on('plotly_selected', (event: { range?: { x: [number, number] } } | undefined) => {
        if (event?.range) brushHandler.current([...event.range.x].sort((a, b) => a - b) as [number, number])
      })
      element.on('plotly_deselect', () => brushHandler.current(null))
    }
  }, [])

  const recolour = useRef(0)
  useEffect(() => () => cancelAnimationFrame(recolour.current), [])
  const preview = (value: number) => {
    setDragCut(value)
    onPreview(countBeyond(sorted, value, side))
    cancelAnimationFrame(recolour.current)
    recolour.current = requestAnimationFrame(() => {
      const current = plot.current
      if (current) void current.plotly.restyle(current.element, { 'marker.color': [barColours(value)] }, [1])
    })
  }
  const settle = (value: number) => {
    setDragCut(null)
    onPreview(null)
    onThreshold(countBeyond(sorted, value, side))
  }

  const surface = useRef<HTMLDivElement>(null)
  const valueAt = (clientX: number): number => {
    const left = surface.current?.getBoundingClientRect().left ?? 0
    if (!box) return 0
    const part = Math.max(0, Math.min(1, (clientX - left - box.left) / box.width))
    return box.low + part * (box.high - box.low)
  }
  const drag = (event: PointerEvent<HTMLDivElement>) => {
    event.preventDefault()
    const handle = event.currentTarget
    handle.focus()
    handle.setPointerCapture(event.pointerId)
    let value = valueAt(event.clientX)
    const move = (e: globalThis.PointerEvent) => {
      value = valueAt(e.clientX)
      preview(value)
    }
    const end = () => {
      handle.removeEventListener('pointermove', move)
      settle(value)
    }
    handle.addEventListener('pointermove', move)
    handle.addEventListener('pointerup', end, { once: true })
  }
  const onKey = (event: KeyboardEvent) => {
    // Right and up always flag more images, whichever side of the axis is suspicious.
    const steps: Record<string, number> = {
      ArrowRight: 1,
      ArrowUp: 1,
      ArrowLeft: -1,
      ArrowDown: -1,
      PageUp: 25,
      PageDown: -25,
    }
    const step = steps[event.key]
    if (step === undefined) return
    event.preventDefault()
    // The gallery's arrow keys must not move as well.
    event.stopPropagation()
    onThreshold(Math.max(0, Math.min(sorted.length, settledCount + step)))
  }

  const x = box && cut !== null ? box.left + ((cut - box.low) / (box.high - box.low)) * box.width : null
  const text = `${plural(reading.count, 'image')} · precision ${share(reading.precision)} · recall ${share(reading.recall)}`
  const inside = box !== null && x !== null
  const at = inside ? Math.max(box.left, Math.min(box.left + box.width, x)) : 0
  // The label stands right of the line, or left of it where it would leave the plot. About 6.4 px a character.
  const labelWidth = text.length * 6.4 + 14
  const fits = box !== null && at + 10 + labelWidth <= box.left + box.width + 12
  const labelLeft = fits ? at + 10 : Math.max(0, at - 10 - labelWidth)
  return (
    <div className="histogram" ref={surface}>
      <Plot data={data} layout={layout} height={height} label={`Histogram of ${axisTitle[axis]}`} onReady={onReady} />
      {inside && (
        <>
          <div
            role="slider"
            tabIndex={0}
            className="threshold"
            aria-label="Threshold"
            aria-valuemin={0}
            aria-valuemax={sorted.length}
            aria-valuenow={reading.count}
            aria-valuetext={`${text}; ${axisTitle[axis]} ${score(cut)}`}
            style={{ left: at, top: box.top, height: box.height }}
            onPointerDown={drag}
            onKeyDown={onKey}
          />
          <span className="threshold-label" style={{ left: labelLeft }}>
            {text}
          </span>
        </>
      )}
    </div>
  )
})
