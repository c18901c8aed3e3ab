// A figure: `Plotly.react` with our template, redrawn when its data, the theme or its width change. No logo, no mode bar,
// no cloud button.
import { Skeleton, useComputedColorScheme } from '@mantine/core'
import { useEffect, useRef, useState } from 'react'
import { fontSans } from '@/app/theme'
import type { PlotElement, PlotlyApi } from './plotly'

const config = {
  displayModeBar: false,
  displaylogo: false,
  showSendToCloud: false,
  responsive: false,
  doubleClick: false,
}

export function plotTemplate(dark: boolean) {
  const text = dark ? '#b9bec2' : '#4a4f54'
  const line = dark ? '#34393e' : '#d3d6d8'
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, tickfont: { size: 12 }, automargin: true }
  return {
    paper_bgcolor: 'rgba(0,0,0,0)',
    plot_bgcolor: 'rgba(0,0,0,0)',
    font: { family: fontSans, size: 12, color: text },
    margin: { l: 48, r: 12, t: 12, b: 40 },
    colorway: dark ? ['#56b4e9', '#f0793a', '#2bc096', '#f0b429'] : ['#0072b2', '#d55e00', '#009e73', '#e69f00'],
    hoverlabel: { font: { family: fontSans, size: 12 } },
    xaxis: axis,
    yaxis: axis,
  }
}

/** Axis by axis, so that a figure's own axis titles keep our greys. */
function withTemplate(layout: Record<string, unknown>, dark: boolean): Record<string, unknown> {
  const template: Record<string, unknown> = plotTemplate(dark)
  const merged: Record<string, unknown> = { ...template, ...layout }
  for (const key of ['xaxis', 'yaxis', 'font', 'margin']) {
    merged[key] = { ...(template[key] as object), ...(layout[key] as object | undefined) }
  }
  merged.paper_bgcolor = template.paper_bgcolor
  merged.plot_bgcolor = template.plot_bgcolor
  return merged
}

export function Plot({
  data,
  layout,
  height,
  label,
  onReady,
}: {
  data: object[]
  layout: Record<string, unknown>
  height: number
  label: string
  onReady?: (element: PlotElement, plotly: PlotlyApi) => void
}) {
  const dark = useComputedColorScheme('light') === 'dark'
  const node = useRef<HTMLDivElement>(null)
  const [plotly, setPlotly] = useState<PlotlyApi | null>(null)
  useEffect(() => {
    let alive = true
    import('./plotly').then((module) => alive && setPlotly(() => module.default))
    return () => {
      alive = false
    }
  }, [])
  useEffect(() => {
    const element = node.current
    if (!plotly || !element) return
    const draw = { ...withTemplate(layout, dark), height, autosize: true }
    plotly.react(element, structuredClone(data), draw, config).then((drawn) => onReady?.(drawn, plotly))
  }, [plotly, data, layout, height, dark, onReady])
  useEffect(() => {
    const element = node.current
    if (!plotly || !element) return
    const observer = new ResizeObserver(() => {
      if (element.clientWidth > 0) plotly.Plots.resize(element).then(() => onReady?.(element as PlotElement, plotly))
    })
    observer.observe(element)
    return () => {
      observer.disconnect()
      plotly.purge(element)
    }
  }, [plotly, onReady])
  return (
    <div style={{ position: 'relative', height }}>
      {!plotly && <Skeleton height={height} />}
      <div ref={node} role="img" aria-label={label} style={{ height, position: plotly ? 'static' : 'absolute' }} />
    </div>
  )
}
