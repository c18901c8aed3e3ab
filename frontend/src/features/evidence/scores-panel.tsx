// Histogram, map and what the flagged share: three views of the scores over one selection. They are heavy, so they are drawn
// again only when what they show has changed.
import { Select, Skeleton } from '@mantine/core'
import { useMediaQuery } from '@mantine/hooks'
import { memo, useCallback } from 'react'
import type { Atlas, Case, Dataset, Finding } from '@/client'
import { Portraits } from '@/components/portraits'
import { ScoreHistogram } from '@/components/score-histogram'
import { TabList } from '@/components/tab-list'
import { TransformHeat } from '@/components/transform-heat'
import type { CaseColumns } from '@/lib/columns'
import { type Axis, countAbove, type Ranking, thresholdFor } from '@/lib/threshold'
import type { VerdictValue } from '@/lib/verdicts'
import { FingerprintMap, type HowSelected, type MapTool } from './map/fingerprint-map'
import type { SetView, View } from './view'

const axes: { value: Axis; label: string }[] = [
  { value: 'shift_mean', label: 'Influence shift' },
  { value: 'collapse_score', label: 'Collapse score' },
  { value: 'posterior', label: 'Posterior' },
  { value: 'mark_score', label: 'Mark score' },
]

type ViewName = NonNullable<View['view']>
const viewName: Record<ViewName, string> = { histogram: 'Histogram', map: 'Map', transforms: 'Transforms' }

/** Two views stand side by side where there is room, and take turns elsewhere. `view`: the one that the address names. */
export function useShownViews(asked: View['view']): { isWide: boolean; names: ViewName[]; view: ViewName } {
  const isWide = useMediaQuery('(min-width: 1700px)') ?? false
  const names: ViewName[] = isWide ? ['map', 'transforms'] : ['histogram', 'map', 'transforms']
  return { isWide, names, view: names.includes(asked ?? 'histogram') ? (asked ?? 'histogram') : 'map' }
}

export interface ScoresPanelProps {
  item: Case
  /** What is drawn; until then its place is kept. */
  hasMap: boolean
  hasHistogram: boolean
  finding: Finding
  dataset: Dataset
  atlas: Atlas
  columns: CaseColumns
  ranking: Ranking
  verdicts: ReadonlyMap<number, VerdictValue>
  selected: ReadonlySet<number>
  /** [n] whether each image passes the gallery's filters. */
  shown: Uint8Array
  labelOf: (index: number) => string
  view: View['view']
  axis: Axis
  threshold: number
  /** As the address says it: absent where nobody moved it. */
  moved: number | undefined
  brush: [number, number] | null
  method: NonNullable<View['map']>
  colour: NonNullable<View['colour']>
  tool: MapTool
  height: number
  set: SetView
  onTool: (tool: MapTool) => void
  onPreview: (count: number | null) => void
  onPick: (index: number, event: { shiftKey: boolean; ctrlKey: boolean; metaKey: boolean }) => void
  onLasso: (indices: Int32Array, how: HowSelected) => void
}

export const ScoresPanel = memo(function ScoresPanel(props: ScoresPanelProps) {
  const { item, finding, dataset, atlas, columns, ranking, axis, threshold, moved, brush, set } = props
  const { isWide, names, view } = useShownViews(props.view)
  const viewTabs = (
    <TabList
      name="View of the scores"
      tabs={names.map((name) => ({ value: name, text: viewName[name] }))}
      chosen={view}
      onChoose={(name) => set({ view: name })}
    />
  )
  const onThreshold = useCallback((n: number) => set({ t: thresholdFor(ranking, n) }), [set, ranking])
  const onBrush = useCallback((range: [number, number] | null) => set({ from: range?.[0], to: range?.[1] }), [set])
  const nAbove = countAbove(ranking, threshold)
  return (
    <section className="panel panel-tight" style={{ display: 'flex', gap: 16, flex: 'none' }} aria-label="Scores">
      {(isWide || view === 'histogram') && (
        <div style={{ flex: 1, minWidth: 0 }}>
          <div style={{ display: 'flex', gap: 12, alignItems: 'center', marginBottom: 8, flexWrap: 'wrap' }}>
            {!isWide && viewTabs}
            <Select
              aria-label="Score on the axis"
              size="xs"
              w={132}
              data={finding.mark ? axes : axes.filter((a) => a.value !== 'mark_score')}
              value={axis}
              onChange={(value) => set({ axis: value as Axis, from: undefined, to: undefined })}
            />
            <span style={{ fontSize: 12, display: 'flex', gap: 12, whiteSpace: 'nowrap' }} className="quiet">
              <span>
                <span style={{ color: 'var(--poison)' }}>■</span> beyond
              </span>
              <span>
                <span style={{ color: 'var(--affected)' }}>■</span> suspects
              </span>
              <span>
                <span style={{ color: 'var(--unjudged)' }}>■</span> other labels
              </span>
            </span>
            {brush && (
              <button type="button" className="tab" onClick={() => set({ from: undefined, to: undefined })}>
                Clear brush
              </button>
            )}
            {threshold !== finding.threshold && (
              <button type="button" className="tab" onClick={() => set({ t: undefined })}>
                Reset threshold
              </button>
            )}
          </div>
          {props.hasHistogram ? (
            <ScoreHistogram
              columns={columns}
              ranking={ranking}
              axis={axis}
              threshold={threshold}
              brush={brush}
              onPreview={props.onPreview}
              onThreshold={onThreshold}
              onBrush={onBrush}
              height={props.height}
            />
          ) : (
            <Skeleton height={props.height} />
          )}
        </div>
      )}
      {view === 'map' && (
        <div style={{ flex: 1, minWidth: 0 }}>
          <FingerprintMap
            caseId={item.id}
            isReady={props.hasMap}
            datasetId={dataset.id}
            atlas={atlas}
            columns={columns}
            verdicts={props.verdicts}
            selected={props.selected}
            shown={props.shown}
            labelOf={props.labelOf}
            method={props.method}
            colour={props.colour}
            tool={props.tool}
            onMethod={(map) => set({ map })}
            onColour={(colour) => set({ colour })}
            onTool={props.onTool}
            onPick={props.onPick}
            onLasso={props.onLasso}
            height={props.height}
            tabs={viewTabs}
          />
        </div>
      )}
      {view === 'transforms' && (
        <div style={{ flex: 1, minWidth: 0 }}>
          <div style={{ display: 'flex', gap: 12, alignItems: 'center', marginBottom: 8, minHeight: 30 }}>
            {viewTabs}
            <span className="quiet" style={{ fontSize: 12 }}>
              mean influence shift; orange: the transform breaks the link
            </span>
          </div>
          <TransformHeat caseId={item.id} result={item.result_digest} height={props.height} />
        </div>
      )}
      {(isWide || view === 'histogram') && (
        <div style={{ flex: 'none', width: 216 }}>
          <div className="quiet" style={{ fontSize: 12, marginBottom: 8 }}>
            What the flagged share
          </div>
          {nAbove > 0 && nAbove < ranking.rows.length ? (
            <Portraits caseId={item.id} result={item.result_digest} threshold={moved} size={96} />
          ) : (
            <p className="quiet">All images lie on one side of the line; move it to compare the two sides.</p>
          )}
        </div>
      )}
    </section>
  )
})
