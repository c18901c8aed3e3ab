// The workbench: histogram with threshold, gallery and inspector over one selection. All of its state is in the address,
// and everything but the inspector's detail is computed here from the columns, without asking the server.
import { Select, Skeleton } from '@mantine/core'
import { useMediaQuery } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import type { Case, Dataset, Finding } from '@/client'
import { Gallery } from '@/components/gallery'
import { Portraits } from '@/components/portraits'
import { ScoreHistogram } from '@/components/score-histogram'
import { Empty, Loaded } from '@/components/states'
import { naturalZoom } from '@/lib/atlas'
import type { CaseColumns } from '@/lib/columns'
import { className, count } from '@/lib/format'
import { isTyping, keyAction, movePlace } from '@/lib/keys'
import { q } from '@/lib/queries'
import { compact } from '@/lib/search'
import { nothing, select, selectAll, targets, useSelection } from '@/lib/selection'
import { type Axis, countAbove, rankSuspects, suspectRows, thresholdFor } from '@/lib/threshold'
import { nextUndecided, type VerdictValue } from '@/lib/verdicts'
import { Inspector } from './inspector'
import { KeySheet } from './key-sheet'
import { LearnControl } from './learn-control'
import { FingerprintMap, type HowSelected, type MapTool } from './map/fingerprint-map'
import { galleryOrder, type Sort } from './order'
import { useLearning } from './use-learning'
import { useVerdicts } from './use-verdicts'

const FROM = '/app/c/$caseId/evidence'

const axes: { value: Axis; label: string }[] = [
  { value: 'shift_mean', label: 'Influence shift' },
  { value: 'collapse_score', label: 'Collapse score' },
  { value: 'posterior', label: 'Posterior' },
  { value: 'mark_score', label: 'Mark score' },
]
const sorts: { value: Sort; label: string }[] = [
  { value: 'posterior', label: 'Posterior' },
  { value: 'informative', label: 'Most informative' },
  { value: 'collapse_score', label: 'Collapse score' },
  { value: 'shift_mean', label: 'Influence shift' },
  { value: 'influence', label: 'Influence' },
  { value: 'self_influence', label: 'Self-influence' },
  { value: 'mark_score', label: 'Mark score' },
  { value: 'index', label: 'Index' },
]

function Workbench({
  item,
  finding,
  dataset,
  columns,
}: {
  item: Case
  finding: Finding
  dataset: Dataset
  columns: CaseColumns
}) {
  const search = useSearch({ from: FROM })
  const navigate = useNavigate({ from: '/c/$caseId/evidence' })
  const set = useCallback(
    (change: Partial<typeof search>) =>
      void navigate({ search: (old) => compact({ ...old, ...change }), replace: true, resetScroll: false }),
    [navigate],
  )
  const { verdicts, judge, undo, redo } = useVerdicts(item.id)
  const learning = useLearning(item)
  const { learn } = learning
  const selection = useSelection()
  const setSelection = selection.set
  const [gridColumns, setGridColumns] = useState(1)
  const [preview, setPreview] = useState<number | null>(null)
  const [blink, setBlink] = useState(false)
  const [difference, setDifference] = useState(false)
  const [help, setHelp] = useState(false)
  const [mapTool, setMapTool] = useState<MapTool>('lasso')
  // Histogram and map stand side by side where there is room, and take turns elsewhere.
  const isWide = useMediaQuery('(min-width: 1700px)') ?? false
  const view = search.view ?? 'histogram'
  const viewTabs = !isWide && (
    <div className="tabs" role="tablist" aria-label="Histogram or map">
      {(['histogram', 'map'] as const).map((name) => (
        <button
          key={name}
          type="button"
          role="tab"
          className="tab"
          aria-selected={view === name}
          onClick={() => set({ view: name })}
        >
          {name === 'histogram' ? 'Histogram' : 'Map'}
        </button>
      ))}
    </div>
  )

  const tab = search.tab ?? 'flagged'
  const axis = search.axis ?? 'shift_mean'
  const sort = search.sort ?? 'posterior'
  const threshold = search.t ?? finding.threshold
  const zoom = search.zoom ?? naturalZoom(dataset.atlas?.tile ?? 32)
  const brush = useMemo<[number, number] | null>(
    () => (search.from !== undefined && search.to !== undefined ? [search.from, search.to] : null),
    [search.from, search.to],
  )

  const suspects = useMemo(() => suspectRows(columns), [columns])
  const ranking = useMemo(() => rankSuspects(columns, verdicts, suspects), [columns, verdicts, suspects])
  const flaggedCount = preview ?? countAbove(ranking, threshold)
  // Only the tab that shows them follows the line: another order of all images would cost a frame for each step of it.
  const shownFlagged = tab === 'flagged' ? flaggedCount : 0
  const flagged = useMemo(() => new Set(suspects.subarray(0, shownFlagged)), [suspects, shownFlagged])
  // A verdict filter must not pull an image away under the reviewer's eyes while it is being judged, so the gallery
  // follows verdicts only when a filter asks for them.
  const filterVerdicts = search.verdict === undefined ? undefined : verdicts
  const filterSelected = tab === 'selected' ? selection.selected : undefined
  const next = useQuery({ ...q.nextToJudge(item.id, item.result_digest), enabled: sort === 'informative' }).data
  const order = useMemo(
    () =>
      galleryOrder(
        columns,
        {
          tab,
          label: search.label,
          verdict: search.verdict,
          range: brush ? { axis, from: brush[0], to: brush[1] } : undefined,
          sort,
        },
        flagged,
        filterSelected ?? new Set(),
        filterVerdicts ?? new Map(),
        next?.images,
      ),
    [columns, tab, search.label, search.verdict, brush, axis, sort, flagged, filterSelected, filterVerdicts, next],
  )

  // The focused image lives in the address; the selection only while the page is open.
  const [firstFocus] = useState(search.i ?? null)
  useEffect(() => setSelection({ ...nothing, focused: firstFocus, anchor: firstFocus }), [firstFocus, setSelection])
  const focused = selection.focused
  useEffect(() => {
    if (focused !== null && focused !== search.i) set({ i: focused })
  }, [focused, search.i, set])

  const labels = useMemo(() => {
    const map = new Map<number, number>()
    for (let row = 0; row < columns.n; row++) map.set(columns.index[row], columns.label[row])
    return map
  }, [columns])
  const labelOf = useCallback((index: number) => className(dataset.classes, labels.get(index)), [dataset, labels])
  const verdictOf = useCallback((index: number) => verdicts.get(index) ?? null, [verdicts])
  const latest = useRef({ order, selection })
  latest.current = { order, selection }
  const pick = useCallback(
    (index: number, event: { shiftKey: boolean; ctrlKey: boolean; metaKey: boolean }) => {
      const how = event.shiftKey ? 'extend' : event.ctrlKey || event.metaKey ? 'toggle' : 'replace'
      setSelection(select(latest.current.selection, latest.current.order, index, how))
    },
    [setSelection],
  )

  const onLasso = useCallback(
    (indices: number[], how: HowSelected) => {
      const { selection: now } = latest.current
      const selected = new Set(how === 'replace' ? [] : now.selected)
      for (const index of indices) if (how !== 'toggle' || !selected.delete(index)) selected.add(index)
      setSelection({ ...now, selected })
      // What was drawn around is what one wants to see.
      if (selected.size > 0) set({ tab: 'selected' })
    },
    [setSelection, set],
  )

  const goToPlace = useCallback(
    (place: number | null, extend = false) => {
      if (place === null || order.length === 0) return
      setSelection(select(selection, order, order[place], extend ? 'extend' : 'replace'))
    },
    [order, selection, setSelection],
  )
  const judgeTargets = useCallback(
    (verdict: VerdictValue | null, advance: boolean) => {
      const indices = targets(selection)
      judge(indices, verdict)
      if (!advance || indices.length !== 1 || focused === null) return
      const place = order.indexOf(focused)
      goToPlace(nextUndecided(order, place, 1, (i) => verdicts.has(i) || i === focused))
    },
    [selection, judge, focused, order, goToPlace, verdicts],
  )

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (isTyping(event.target)) return
      const action = keyAction(event)
      if (!action) return
      // A focused button or link keeps Space for itself.
      if (action.kind === 'select' && event.target instanceof HTMLElement && event.target.closest('button, a, summary'))
        return
      event.preventDefault()
      const place = focused === null ? -1 : order.indexOf(focused)
      switch (action.kind) {
        case 'move':
          return goToPlace(
            place < 0 ? 0 : movePlace(place, order.length, gridColumns, action.by),
            action.extend && place >= 0,
          )
        case 'verdict':
          return judgeTargets(action.verdict, action.advance && action.verdict !== null)
        case 'undecided':
          return goToPlace(nextUndecided(order, place, action.step, (i) => verdicts.has(i)))
        case 'select':
          return focused === null ? undefined : setSelection(select(selection, order, focused, 'toggle'))
        case 'select-all':
          return setSelection(selectAll({ ...selection, focused: focused ?? order[0] ?? null }, order))
        case 'clear':
          return setSelection({ ...selection, selected: new Set(), anchor: focused })
        case 'undo':
          return undo()
        case 'redo':
          return redo()
        case 'learn':
          return learn()
        case 'comment':
          return document.querySelector<HTMLTextAreaElement>('[data-comment-on="image"]')?.focus()
        case 'blink':
          return setBlink(true)
        case 'difference':
          return setDifference((on) => !on)
        case 'map-tool':
          return setMapTool(action.tool)
        case 'zoom':
          return set({ zoom: Math.max(1, Math.min(6, zoom + action.step)) })
        case 'help':
          return setHelp(true)
      }
    }
    const onKeyUp = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() === 'v') setBlink(false)
    }
    window.addEventListener('keydown', onKey)
    window.addEventListener('keyup', onKeyUp)
    return () => {
      window.removeEventListener('keydown', onKey)
      window.removeEventListener('keyup', onKeyUp)
    }
  }, [
    focused,
    order,
    gridColumns,
    goToPlace,
    judgeTargets,
    verdicts,
    selection,
    setSelection,
    undo,
    redo,
    set,
    zoom,
    learn,
  ])

  if (!dataset.atlas) return <Empty>This data set has no thumbnails.</Empty>
  const tabNames = {
    flagged: `Flagged ${count(flaggedCount)}`,
    all: `All ${count(columns.n)}`,
    selected: `Selected ${count(selection.selected.size)}`,
  }
  const judged = order.reduce((n, index) => n + (verdicts.has(index) ? 1 : 0), 0)
  return (
    <div className="workbench">
      <div className="workbench-left">
        <section className="panel panel-tight" style={{ display: 'flex', gap: 16, flex: 'none' }} aria-label="Scores">
          {(isWide || view === 'histogram') && (
            <div style={{ flex: 1, minWidth: 0 }}>
              <div style={{ display: 'flex', gap: 12, alignItems: 'center', marginBottom: 8, flexWrap: 'wrap' }}>
                {viewTabs}
                <Select
                  aria-label="Score on the axis"
                  size="xs"
                  w={168}
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
              <ScoreHistogram
                columns={columns}
                ranking={ranking}
                axis={axis}
                threshold={threshold}
                brush={brush}
                onPreview={setPreview}
                onThreshold={(n) => set({ t: thresholdFor(ranking, n) })}
                onBrush={(range) => set({ from: range?.[0], to: range?.[1] })}
              />
            </div>
          )}
          {(isWide || view === 'map') && (
            <div style={{ flex: 1, minWidth: 0 }}>
              <FingerprintMap
                caseId={item.id}
                datasetId={dataset.id}
                atlas={dataset.atlas}
                columns={columns}
                verdicts={verdicts}
                selected={selection.selected}
                order={order}
                labelOf={labelOf}
                method={search.map ?? 'pca'}
                colour={search.colour ?? 'score'}
                tool={mapTool}
                onMethod={(map) => set({ map })}
                onColour={(colour) => set({ colour })}
                onTool={setMapTool}
                onPick={pick}
                onLasso={onLasso}
                tabs={viewTabs}
              />
            </div>
          )}
          {(isWide || view === 'histogram') && (
            <div style={{ flex: 'none', width: 216 }}>
              <div className="quiet" style={{ fontSize: 12, marginBottom: 8 }}>
                What the flagged share
              </div>
              {countAbove(ranking, threshold) > 0 && countAbove(ranking, threshold) < ranking.rows.length ? (
                <Portraits caseId={item.id} result={item.result_digest} threshold={search.t} size={96} />
              ) : (
                <p className="quiet">All images lie on one side of the line; move it to compare the two sides.</p>
              )}
            </div>
          )}
        </section>
        <section
          className="panel panel-tight"
          style={{ display: 'flex', flexDirection: 'column', gap: 8, flex: 1, minHeight: 240 }}
          aria-label="Gallery"
        >
          <div style={{ display: 'flex', gap: 12, alignItems: 'center', flexWrap: 'wrap' }}>
            <div className="tabs" role="tablist" aria-label="Which images">
              {(['flagged', 'all', 'selected'] as const).map((name) => (
                <button
                  key={name}
                  type="button"
                  role="tab"
                  className="tab"
                  aria-selected={tab === name}
                  onClick={() => set({ tab: name })}
                >
                  {tabNames[name]}
                </button>
              ))}
            </div>
            <Select
              aria-label="Class"
              size="xs"
              w={126}
              searchable
              data={[
                { value: '', label: 'All classes' },
                ...dataset.classes.map((name, i) => ({ value: String(i), label: name })),
              ]}
              value={search.label === undefined ? '' : String(search.label)}
              onChange={(value) => set({ label: value ? Number(value) : undefined })}
            />
            <Select
              aria-label="Verdict"
              size="xs"
              w={120}
              data={[
                { value: '', label: 'Any verdict' },
                { value: 'none', label: 'Not judged' },
                { value: 'poison', label: 'Poison' },
                { value: 'clean', label: 'Clean' },
                { value: 'unsure', label: 'Unsure' },
              ]}
              value={search.verdict ?? ''}
              onChange={(value) => set({ verdict: (value || undefined) as typeof search.verdict })}
            />
            <Select
              aria-label="Sort by"
              size="xs"
              w={136}
              data={finding.mark ? sorts : sorts.filter((s) => s.value !== 'mark_score')}
              value={sort}
              onChange={(value) => set({ sort: value as Sort })}
            />
            <LearnControl finding={finding} learning={learning} />
            <span className="quiet" style={{ marginLeft: 'auto', fontSize: 12 }} role="status">
              {count(order.length)} of {count(columns.n)} shown · {count(judged)} judged
            </span>
          </div>
          {order.length > 0 ? (
            <Gallery
              name={`${tabNames[tab]} training images`}
              datasetId={dataset.id}
              atlas={dataset.atlas}
              order={order}
              zoom={zoom}
              selected={selection.selected}
              focused={focused}
              labelOf={labelOf}
              verdictOf={verdictOf}
              onPick={pick}
              onColumns={setGridColumns}
              multiselect
            />
          ) : (
            <Empty>
              {tab === 'selected'
                ? 'Nothing is selected: click, Shift-click or Ctrl-click images.'
                : 'No image passes these filters.'}
            </Empty>
          )}
        </section>
      </div>
      <div className="workbench-right">
        <Inspector
          item={item}
          dataset={dataset}
          index={focused}
          verdict={focused === null ? null : verdictOf(focused)}
          targets={targets(selection).length}
          blink={blink}
          difference={difference}
          onJudge={(verdict) => judgeTargets(verdict, false)}
        />
      </div>
      <KeySheet opened={help} onClose={() => setHelp(false)} />
    </div>
  )
}

export function WorkbenchScreen() {
  const { caseId } = useParams({ from: FROM })
  const query = useQuery(q.case(caseId))
  const item = query.data
  const dataset = useQuery({ ...q.dataset(item?.dataset_id ?? ''), enabled: item !== undefined })
  const columns = useQuery({
    ...q.caseColumns(caseId, item?.result_digest ?? null),
    enabled: Boolean(item?.finding),
    // While the scores that have learned are on their way, the earlier ones stay.
    placeholderData: (earlier, of) => (of?.queryKey[1] === caseId ? earlier : undefined),
  })
  return (
    <Loaded query={query}>
      {(found) =>
        found.finding === null ? (
          <section className="panel">
            <Empty>The evidence appears here when every training image is scored.</Empty>
          </section>
        ) : (
          <Loaded query={dataset} skeleton={<Skeleton height="100%" />}>
            {(data) => (
              <Loaded query={columns} skeleton={<Skeleton height="100%" />}>
                {(table) => (
                  <Workbench item={found} finding={found.finding as Finding} dataset={data} columns={table} />
                )}
              </Loaded>
            )}
          </Loaded>
        )
      }
    </Loaded>
  )
}
