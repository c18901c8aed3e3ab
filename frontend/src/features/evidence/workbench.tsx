// The workbench: histogram with threshold, map, gallery and inspector over one selection. All of its state is in the address,
// and everything but the inspector's detail is computed here from the columns, without asking the server.
//
// A verdict must be on the screen before the reviewer looks for it: what a key changes is drawn by small parts, the heavy
// ones (histogram, map, filters) are drawn again only when their own input changes, and what no eye waits for (the address,
// the detail of the image, the map) follows when the keys rest.
import { Skeleton } from '@mantine/core'
import { useThrottledValue } from '@mantine/hooks'
import { useQueries, useQuery } from '@tanstack/react-query'
import { useParams, useSearch } from '@tanstack/react-router'
import { type CSSProperties, useCallback, useEffect, useMemo, useRef, useState } from 'react'
import type { Atlas, Case, Dataset, Finding } from '@/client'
import { Gallery } from '@/components/gallery'
import { Splitter, useSize } from '@/components/splitter'
import { Empty, Loaded } from '@/components/states'
import { address } from '@/lib/api'
import { naturalZoom } from '@/lib/atlas'
import { type CaseColumns, MORE_CASE_COLUMNS, maskOf } from '@/lib/columns'
import { className, count } from '@/lib/format'
import { type KeyAction, movePlace } from '@/lib/keys'
import { q } from '@/lib/queries'
import { countTargets, nothing, select, selectAll, targets, useSelection } from '@/lib/selection'
import { countAbove, rankSuspects, suspectRows } from '@/lib/threshold'
import { nextUndecided, type VerdictValue } from '@/lib/verdicts'
import { GalleryFilters, tabName } from './gallery-filters'
import { type Gain, Inspector } from './inspector'
import { KeySheet } from './key-sheet'
import { LearnControl } from './learn-control'
import type { HowSelected, MapTool } from './map/fingerprint-map'
import { useMapAhead } from './map/use-map'
import { galleryOrder } from './order'
import { SavedViews } from './saved-views'
import { ScoresPanel, useShownViews } from './scores-panel'
import { useLearning } from './use-learning'
import { useVerdicts } from './use-verdicts'
import { useWorkbenchKeys } from './use-workbench-keys'
import { useSetView } from './view'
import { nextScale, wholePicture } from './zoom-box'

const FROM = '/app/c/$caseId/evidence'
/** The address follows the focus when it has rested so long. */
const ADDRESS_MS = 250
/** Map and estimates follow the verdicts at most this often. */
const FOLLOW_MS = 150
/** With more images the gallery is drawn before histogram and map are made. */
const MANY = 200_000
const LAST_STAGE = 2
/** So many images are loaded ahead of the inspector. */
const AHEAD = 3

const plainClick = { shiftKey: false, ctrlKey: false, metaKey: false }
const noMap: ReadonlyMap<number, VerdictValue> = new Map()
const noSet: ReadonlySet<number> = new Set()

function Workbench({
  item,
  finding,
  dataset,
  atlas,
  columns,
}: {
  item: Case
  finding: Finding
  dataset: Dataset
  atlas: Atlas
  columns: CaseColumns
}) {
  const search = useSearch({ from: FROM })
  const { set, open: openView } = useSetView()
  const { verdicts, judge, undo, redo } = useVerdicts(item.id)
  const learning = useLearning(item)
  const selection = useSelection()
  const setSelection = selection.set
  const [gridColumns, setGridColumns] = useState(1)
  const [preview, setPreview] = useState<number | null>(null)
  const [blink, setBlink] = useState(false)
  const [difference, setDifference] = useState<Gain>(0)
  const [glass, setGlass] = useState(wholePicture)
  const [help, setHelp] = useState(false)
  const scores = useSize('orfila-scores-height', { first: 232, least: 140, most: 560 })
  const inspector = useSize('orfila-inspector-width', { first: 376, least: 300, most: 720 })
  const [mapTool, setMapTool] = useState<MapTool>('lasso')

  const tab = search.tab ?? 'flagged'
  // Until a column that was asked for is there, the first one stands for it.
  const axis = columns[search.axis ?? 'shift_mean'] ? (search.axis ?? 'shift_mean') : 'shift_mean'
  const sort = search.sort ?? 'posterior'
  const threshold = search.t ?? finding.threshold
  const zoom = search.zoom ?? naturalZoom(atlas.tile)
  const brush = useMemo<[number, number] | null>(
    () => (search.from !== undefined && search.to !== undefined ? [search.from, search.to] : null),
    [search.from, search.to],
  )

  const lateVerdicts = useThrottledValue(verdicts, FOLLOW_MS)
  const lateSelected = useThrottledValue(selection.selected, FOLLOW_MS)
  const suspects = useMemo(() => suspectRows(columns), [columns])
  const ranking = useMemo(() => rankSuspects(columns, lateVerdicts, suspects), [columns, lateVerdicts, suspects])
  const flaggedCount = preview ?? countAbove(ranking, threshold)
  // Only the tab that shows them follows the line: another order of all images would cost a frame for each step of it.
  const shownFlagged = tab === 'flagged' ? flaggedCount : 0
  const flagged = useMemo(() => suspects.subarray(0, shownFlagged), [suspects, shownFlagged])
  // A verdict filter must not pull an image away under the reviewer's eyes while it is being judged, so the gallery
  // follows verdicts only when a filter asks for them.
  const filterVerdicts = search.verdict === undefined ? noMap : verdicts
  const filterSelected = tab === 'selected' ? selection.selected : noSet
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
        filterSelected,
        filterVerdicts,
        next?.images,
      ),
    [columns, tab, search.label, search.verdict, brush, axis, sort, flagged, filterSelected, filterVerdicts, next],
  )

  // The focused image lives in the address; the selection only while the page is open.
  const [firstFocus] = useState(search.i ?? null)
  useEffect(() => setSelection({ ...nothing, focused: firstFocus, anchor: firstFocus }), [firstFocus, setSelection])
  const focused = selection.focused
  useEffect(() => {
    if (focused === null || focused === search.i) return
    const timer = setTimeout(() => set({ i: focused }), ADDRESS_MS)
    return () => clearTimeout(timer)
  }, [focused, search.i, set])

  const labelOf = useCallback((index: number) => className(dataset.classes, columns.label[index]), [dataset, columns])
  const verdictOf = useCallback((index: number) => verdicts.get(index) ?? null, [verdicts])
  const latest = useRef({ order, selection, verdicts })
  latest.current = { order, selection, verdicts }
  const pick = useCallback(
    (index: number, event: { shiftKey: boolean; ctrlKey: boolean; metaKey: boolean }) => {
      const how = event.shiftKey ? 'extend' : event.ctrlKey || event.metaKey ? 'toggle' : 'replace'
      setSelection(select(latest.current.selection, latest.current.order, index, how))
    },
    [setSelection],
  )
  const open = useCallback((index: number) => pick(index, plainClick), [pick])
  const onLasso = useCallback(
    (indices: Int32Array, how: HowSelected) => {
      const { selection: now } = latest.current
      const selected = new Set(how === 'replace' ? indices : now.selected)
      if (how === 'extend') for (const index of indices) selected.add(index)
      if (how === 'toggle') for (const index of indices) if (!selected.delete(index)) selected.add(index)
      setSelection({ ...now, selected })
      // What was drawn around is what one wants to see.
      if (selected.size > 0) set({ tab: 'selected' })
    },
    [setSelection, set],
  )
  const goToPlace = useCallback(
    (place: number | null, extend = false) => {
      const { selection: now, order: shown } = latest.current
      if (place === null || shown.length === 0) return
      setSelection(select(now, shown, shown[place], extend ? 'extend' : 'replace'))
    },
    [setSelection],
  )
  const judgeTargets = useCallback(
    (verdict: VerdictValue | null, advance: boolean) => {
      const { selection: now, order: shown, verdicts: given } = latest.current
      const indices = targets(now)
      const from = now.focused
      judge(indices, verdict)
      if (!advance || indices.length !== 1 || from === null) return
      const isJudged = (index: number) => given.has(index) || index === from
      const place = nextUndecided(shown, shown.indexOf(from), 1, isJudged)
      goToPlace(place)
      // The ones that come then: a reviewer never waits for a picture.
      for (let step = 0, at = place; at !== null && step < AHEAD; step++) {
        at = nextUndecided(shown, at, 1, isJudged)
        if (at !== null) new Image().src = address.pixels(dataset.id, shown[at])
      }
    },
    [judge, goToPlace, dataset.id],
  )
  const judgeHere = useCallback((verdict: VerdictValue | null) => judgeTargets(verdict, false), [judgeTargets])
  const closeHelp = useCallback(() => setHelp(false), [])

  const act = (action: KeyAction) => {
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
        return learning.learn()
      case 'comment':
        return document.querySelector<HTMLTextAreaElement>('[data-comment-on="image"]')?.focus()
      case 'blink':
        return setBlink(true)
      case 'difference':
        return setDifference((gain) => (gain === 0 ? 1 : gain === 1 ? 8 : 0))
      case 'glass':
        return setGlass(nextScale)
      case 'map-tool':
        return setMapTool(action.tool)
      case 'zoom':
        return set({ zoom: Math.max(1, Math.min(6, zoom + action.step)) })
      case 'help':
        return setHelp(true)
    }
  }
  useWorkbenchKeys(act, () => setBlink(false))

  const shown = useMemo(() => maskOf(columns.n, order), [columns, order])
  // One after the other: gallery, map, histogram.
  const [stage, setStage] = useState(columns.n <= MANY ? LAST_STAGE : 0)
  useEffect(() => {
    if (stage === LAST_STAGE) return
    const timer = setTimeout(() => requestAnimationFrame(() => setStage(stage + 1)))
    return () => clearTimeout(timer)
  }, [stage])

  const judged = useMemo(() => [...verdicts.keys()].reduce((n, index) => n + shown[index], 0), [shown, verdicts])
  const shownName = { flagged: flaggedCount, all: columns.n, selected: selection.selected.size }
  return (
    <div className="workbench" style={{ '--inspector': `${inspector.size}px` } as CSSProperties}>
      <div className="workbench-left">
        <ScoresPanel
          item={item}
          hasMap={stage >= 1}
          hasHistogram={stage >= LAST_STAGE}
          finding={finding}
          dataset={dataset}
          atlas={atlas}
          columns={columns}
          ranking={ranking}
          verdicts={lateVerdicts}
          selected={lateSelected}
          shown={shown}
          labelOf={labelOf}
          view={search.view}
          axis={axis}
          threshold={threshold}
          moved={search.t}
          brush={brush}
          method={search.map ?? 'pca'}
          colour={search.colour ?? 'score'}
          tool={mapTool}
          height={scores.size}
          set={set}
          onTool={setMapTool}
          onPreview={setPreview}
          onPick={pick}
          onLasso={onLasso}
        />
        <Splitter name="Height of the scores" between="column" grows="before" of={scores} />
        <section
          className="panel panel-tight"
          style={{ display: 'flex', flexDirection: 'column', gap: 8, flex: 1, minHeight: 240 }}
          aria-label="Gallery"
        >
          <div style={{ display: 'flex', gap: 12, alignItems: 'center', flexWrap: 'wrap' }}>
            <GalleryFilters
              classes={dataset.classes}
              nFlagged={flaggedCount}
              nAll={columns.n}
              nSelected={selection.selected.size}
              tab={tab}
              label={search.label}
              verdict={search.verdict}
              sort={sort}
              hasMark={Boolean(finding.mark)}
              set={set}
            />
            <LearnControl finding={finding} learning={learning} />
            <SavedViews projectId={item.project_id} view={search} open={openView} />
            <span className="quiet" style={{ marginLeft: 'auto', fontSize: 12 }} role="status">
              {count(order.length)} of {count(columns.n)} shown · {count(judged)} judged
            </span>
          </div>
          {order.length > 0 ? (
            <Gallery
              name={`${tabName[tab]} ${count(shownName[tab])} training images`}
              datasetId={dataset.id}
              atlas={atlas}
              order={order}
              likely={tab === 'flagged' ? suspects : undefined}
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
      <Splitter name="Width of the inspector" between="row" grows="after" of={inspector} />
      <div className="workbench-right">
        <Inspector
          item={item}
          dataset={dataset}
          index={focused}
          verdict={focused === null ? null : verdictOf(focused)}
          targets={countTargets(selection)}
          blink={blink}
          difference={difference}
          glass={glass}
          onGlass={setGlass}
          verdictOf={verdictOf}
          onJudge={judgeHere}
          onOpen={open}
        />
      </div>
      <KeySheet opened={help} onClose={closeHelp} />
    </div>
  )
}

const together = (found: { data?: Partial<CaseColumns> }[]): Partial<CaseColumns> =>
  Object.assign({}, ...found.map((each) => each.data))

export function WorkbenchScreen() {
  const { caseId } = useParams({ from: FROM })
  const query = useQuery(q.case(caseId))
  const item = query.data
  const dataset = useQuery({ ...q.dataset(item?.dataset_id ?? ''), enabled: item !== undefined })
  const result = item?.result_digest ?? null
  const columns = useQuery({
    ...q.caseColumns(caseId, result),
    enabled: Boolean(item?.finding),
    // While the scores that have learned are on their way, the earlier ones stay.
    placeholderData: (earlier, of) => (of?.queryKey[1] === caseId ? earlier : undefined),
  })
  const { sort, axis, view, map } = useSearch({ from: FROM })
  const more = useQueries({
    queries: MORE_CASE_COLUMNS.map((name) => ({
      ...q.moreCaseColumns(caseId, result, name),
      enabled: Boolean(item?.finding) && (sort === name || axis === name),
    })),
    combine: together,
  })
  useMapAhead(caseId, map ?? 'pca', useShownViews(view).view === 'map' && Boolean(item?.finding))
  const table = useMemo(() => columns.data && { ...columns.data, ...more }, [columns.data, more])
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
                {(first) =>
                  data.atlas ? (
                    <Workbench
                      item={found}
                      finding={found.finding as Finding}
                      dataset={data}
                      atlas={data.atlas}
                      columns={table ?? first}
                    />
                  ) : (
                    <Empty>This data set has no thumbnails.</Empty>
                  )
                }
              </Loaded>
            )}
          </Loaded>
        )
      }
    </Loaded>
  )
}
