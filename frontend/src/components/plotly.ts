// The partial Plotly build: its own chunk, loaded when the first figure is drawn.

import bar from 'plotly.js/lib/bar'
import Plotly from 'plotly.js/lib/core'
import heatmap from 'plotly.js/lib/heatmap'
import histogram from 'plotly.js/lib/histogram'

Plotly.register([bar, heatmap, histogram])

export interface PlotElement extends HTMLDivElement {
  on: (event: string, handler: (data: never) => void) => void
  removeAllListeners: (event?: string) => void
  _fullLayout?: {
    xaxis: { _offset: number; _length: number; range: [number, number] }
    _size: { t: number; h: number }
  }
}

export interface PlotlyApi {
  react: (node: HTMLElement, data: unknown[], layout: object, config: object) => Promise<PlotElement>
  restyle: (node: HTMLElement, update: object, traces?: number[]) => Promise<PlotElement>
  purge: (node: HTMLElement) => void
  Plots: { resize: (node: HTMLElement) => Promise<void> }
}

export default Plotly as unknown as PlotlyApi
