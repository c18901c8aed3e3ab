// Two cases side by side: one poison often has several symptoms, and a second question should give the same answer.
import { Select, Stack } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { useCallback, useMemo, useState } from 'react'
import type { Case, CasesBeside, Dataset } from '@/client'
import { CopyMenu } from '@/components/copy'
import { HowObtained } from '@/components/derived'
import { Gallery } from '@/components/gallery'
import { Facts, Stat, TitleRow } from '@/components/page'
import { PixelImage } from '@/components/pixel-image'
import { Plot } from '@/components/plot'
import { Empty, Loaded } from '@/components/states'
import { EvidenceChip, StateChip } from '@/components/status'
import { TabList } from '@/components/tab-list'
import { address } from '@/lib/api'
import { naturalZoom } from '@/lib/atlas'
import type { CaseColumns } from '@/lib/columns'
import { className, count, percent, pValue, score, share } from '@/lib/format'
import { density } from '@/lib/plane'
import { q } from '@/lib/queries'
import { compact } from '@/lib/search'

const FROM = '/app/compare'
const BINS = 48
const nobody: ReadonlySet<number> = new Set()

type Side = 'a' | 'b'
const sideName: Record<Side, string> = { a: 'first', b: 'second' }

function Choose({ side, chosen, cases }: { side: Side; chosen: Case | undefined; cases: Case[] }) {
  const search = useSearch({ from: FROM })
  const navigate = useNavigate({ from: '/compare' })
  const other = side === 'a' ? search.b : search.a
  return (
    <Select
      aria-label={`The ${sideName[side]} case`}
      searchable
      placeholder="Choose a case"
      data={cases
        .filter((c) => c.finding !== null && c.id !== other)
        .map((c) => ({ value: c.id, label: `#${c.number} ${c.name}` }))}
      value={chosen?.id ?? null}
      onChange={(id) => void navigate({ search: (old) => compact({ ...old, [side]: id ?? undefined }), replace: true })}
    />
  )
}

function CaseSide({ side, item, cases }: { side: Side; item: Case | undefined; cases: Case[] }) {
  const dataset = useQuery({ ...q.dataset(item?.dataset_id ?? ''), enabled: item !== undefined }).data
  const finding = item?.finding
  return (
    <section className="panel" aria-label={`The ${sideName[side]} case`}>
      <Choose side={side} chosen={item} cases={cases} />
      {item && (
        <>
          <div style={{ display: 'flex', gap: 12, alignItems: 'baseline', flexWrap: 'wrap', marginTop: 12 }}>
            <Link to="/c/$caseId" params={{ caseId: item.id }}>
              Open the case
            </Link>
            <StateChip state={item.state} />
            {finding && <EvidenceChip level={finding.evidence} strict={finding.level === 'strict'} />}
            {finding && <span className="mono">{pValue(finding.p_value)}</span>}
          </div>
          {finding && <p style={{ margin: '12px 0', minHeight: 40 }}>{finding.sentence}</p>}
          <div style={{ display: 'flex', gap: 16, flexWrap: 'wrap' }}>
            {item.affected.slice(0, 3).map((image) => (
              <figure key={image.number} style={{ margin: 0 }}>
                <PixelImage
                  src={address.affected(item.id, image.number)}
                  alt={`Affected image ${image.name}`}
                  size={128}
                />
                <figcaption style={{ fontSize: 12, marginTop: 4 }}>
                  seen as {className(dataset?.classes ?? [], image.predicted)}
                </figcaption>
              </figure>
            ))}
            {finding && finding.n_flagged > 0 && (
              <figure style={{ margin: 0 }}>
                <PixelImage
                  src={address.portrait(item.id, 'difference', item.result_digest)}
                  alt="Mean of the flagged images minus the mean of the others of the class"
                  size={128}
                />
                <figcaption style={{ fontSize: 12, marginTop: 4 }}>what the flagged share</figcaption>
              </figure>
            )}
          </div>
          {finding && (
            <div style={{ marginTop: 12 }}>
              <Facts
                items={[
                  ['Flagged', `${count(finding.n_flagged)} of ${count(finding.n_suspects)} suspects`],
                  ['Precision', share(finding.precision.value)],
                  ['Recall', share(finding.recall.value)],
                ]}
              />
            </div>
          )}
        </>
      )}
    </section>
  )
}

/** Three lengths of one bar: what one flags alone, what both flag. */
function Overlap({ found }: { found: CasesBeside }) {
  const parts = [
    { name: 'first alone', n: found.n_first ?? 0, colour: 'var(--affected)' },
    { name: 'both', n: found.n_both ?? 0, colour: 'var(--poison)' },
    { name: 'second alone', n: found.n_second ?? 0, colour: 'var(--unsure)' },
  ]
  return (
    <div>
      <div className="overlap" role="img" aria-label={parts.map((p) => `${p.name} ${p.n}`).join(', ')}>
        {parts.map((part) => (
          <span key={part.name} style={{ flexGrow: part.n, background: part.colour }} />
        ))}
      </div>
      <div style={{ display: 'flex', gap: 16, flexWrap: 'wrap', fontSize: 12, marginTop: 4 }}>
        {parts.map((part) => (
          <span key={part.name}>
            <span style={{ color: part.colour }}>■</span> {part.name} {count(part.n)}
          </span>
        ))}
      </div>
    </div>
  )
}

/** How the scores agree: where the images that are suspects in both lie. */
function Agreement({ a, b }: { a: Case; b: Case }) {
  const [first, second] = [
    useQuery(q.caseColumns(a.id, a.result_digest)).data,
    useQuery(q.caseColumns(b.id, b.result_digest)).data,
  ]
  const figure = useMemo(() => first && second && scoresFigure(first, second), [first, second])
  if (!figure) return null
  return (
    <Plot data={figure.data} layout={figure.layout} height={300} label="Collapse scores of the first and second case" />
  )
}

function scoresFigure(a: CaseColumns, b: CaseColumns) {
  const rows = Array.from({ length: Math.min(a.n, b.n) }, (_, row) => row).filter((r) => a.suspect[r] && b.suspect[r])
  if (rows.length === 0) return null
  const found = density(
    Float32Array.from(rows, (r) => a.collapse_score[r]),
    Float32Array.from(rows, (r) => b.collapse_score[r]),
    BINS,
  )
  return {
    data: [
      {
        type: 'heatmap',
        x: found.x,
        y: found.y,
        z: found.counts.map((row) => row.map((c) => (c ? Math.log10(c) : null))),
        customdata: found.counts,
        colorscale: 'Viridis',
        showscale: false,
        hovertemplate: '%{customdata} images<br>first %{x:.2f}, second %{y:.2f}<extra></extra>',
      },
    ],
    layout: {
      margin: { l: 52, r: 12, t: 12, b: 44 },
      xaxis: { title: { text: 'collapse score in the first' } },
      yaxis: { title: { text: 'in the second' } },
    },
  }
}

const tabs = { both: 'Both flag', first: 'First alone', second: 'Second alone' } as const
type Tab = keyof typeof tabs

function Images({ a, b, dataset, found }: { a: Case; b: Case; dataset: Dataset; found: CasesBeside }) {
  const [tab, setTab] = useState<Tab>(found.n_both ? 'both' : 'first')
  const navigate = useNavigate()
  const order = useMemo(() => Int32Array.from(found[tab] ?? []), [found, tab])
  const columns = useQuery(q.caseColumns(a.id, a.result_digest)).data
  const labelOf = useCallback(
    (index: number) => className(dataset.classes, columns?.label[index]),
    [dataset.classes, columns],
  )
  const open = useCallback(
    (index: number) =>
      void navigate({
        to: '/c/$caseId/evidence',
        params: { caseId: tab === 'second' ? b.id : a.id },
        search: { tab: 'all', i: index },
      }),
    [navigate, tab, a.id, b.id],
  )
  if (!dataset.atlas) return null
  const n: Record<Tab, number> = { both: found.n_both ?? 0, first: found.n_first ?? 0, second: found.n_second ?? 0 }
  return (
    <section className="panel" aria-label="Flagged images">
      <div style={{ display: 'flex', gap: 8, alignItems: 'center', marginBottom: 8 }}>
        <TabList
          name="Which images"
          tabs={(Object.keys(tabs) as Tab[]).map((name) => ({ value: name, text: `${tabs[name]} ${count(n[name])}` }))}
          chosen={tab}
          onChoose={setTab}
        />
        {n[tab] > order.length && (
          <span className="quiet" style={{ fontSize: 12 }}>
            the {count(order.length)} with the highest scores
          </span>
        )}
      </div>
      {order.length > 0 ? (
        <div style={{ height: 280, display: 'flex' }}>
          <Gallery
            name={`${tabs[tab]} ${count(order.length)} training images`}
            datasetId={dataset.id}
            atlas={dataset.atlas}
            order={order}
            zoom={naturalZoom(dataset.atlas.tile)}
            selected={nobody}
            focused={null}
            labelOf={labelOf}
            onPick={open}
          />
        </div>
      ) : (
        <Empty>No image.</Empty>
      )}
    </section>
  )
}

function Beside({ a, b, dataset }: { a: Case; b: Case; dataset: Dataset }) {
  const query = useQuery(q.beside(a.id, a.result_digest, b.id, b.result_digest))
  return (
    <Loaded query={query}>
      {(found) => (
        <>
          <section className="panel" aria-label="What they share">
            <h2>What they share</h2>
            {found.same_images ? (
              <div className="columns" style={{ gridTemplateColumns: 'minmax(0, 1fr) minmax(0, 1fr)' }}>
                <Stack gap={16}>
                  <Overlap found={found} />
                  <div
                    style={{ display: 'grid', gridTemplateColumns: 'repeat(auto-fit, minmax(150px, 1fr))', gap: 16 }}
                  >
                    <Stat
                      name={
                        <>
                          Overlap{' '}
                          <HowObtained what="the overlap">
                            Of the images that one of the cases flags, the share that both do (Jaccard).
                          </HowObtained>
                        </>
                      }
                      value={percent(found.overlap ?? null, 0)}
                      note={`${count(found.n_both ?? 0)} images in both`}
                    />
                    <Stat
                      name={
                        <>
                          Order{' '}
                          <HowObtained what="the agreement of the orders">
                            Spearman's rank correlation of the collapse scores of the{' '}
                            {count(found.n_suspects_of_both ?? 0)} images that are suspects in both cases. Clean images
                            are in no order of their own, so that a small poison found twice may give little.
                          </HowObtained>
                        </>
                      }
                      value={score(found.rank_correlation ?? null)}
                      note="rank correlation of the scores"
                    />
                  </div>
                  <Differences found={found} />
                </Stack>
                {(found.n_suspects_of_both ?? 0) > 0 ? (
                  <Agreement a={a} b={b} />
                ) : (
                  <Empty>No image is a suspect in both: the affected images received different labels.</Empty>
                )}
              </div>
            ) : (
              <Stack gap={16}>
                <p style={{ margin: 0 }}>
                  The cases are of different data sets, so that their images cannot be matched. What they flag stands
                  above, side by side.
                </p>
                <Differences found={found} />
              </Stack>
            )}
          </section>
          {found.same_images && <Images a={a} b={b} dataset={dataset} found={found} />}
        </>
      )}
    </Loaded>
  )
}

function Differences({ found }: { found: CasesBeside }) {
  if (found.differences.length === 0) return <p style={{ margin: 0 }}>Both were asked the same way.</p>
  return (
    <table className="table">
      <thead>
        <tr>
          <th>Asked differently</th>
          <th>First</th>
          <th>Second</th>
        </tr>
      </thead>
      <tbody>
        {found.differences.map((each) => (
          <tr key={each.name}>
            <td>{each.name}</td>
            <td>{each.first}</td>
            <td>{each.second}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

export function BesideScreen() {
  const { a, b } = useSearch({ from: FROM })
  const first = useQuery({ ...q.case(a ?? ''), enabled: a !== undefined }).data
  const second = useQuery({ ...q.case(b ?? ''), enabled: b !== undefined }).data
  const project = first?.project_id ?? second?.project_id
  const cases = useQuery({ ...q.cases(project ?? ''), enabled: project !== undefined }).data?.items ?? []
  const dataset = useQuery({ ...q.dataset(first?.dataset_id ?? ''), enabled: first !== undefined }).data
  return (
    <div className="page">
      <TitleRow title="Compare cases">{a && b && <CopyMenu path={`/api/v1/cases/${a}/beside/${b}`} />}</TitleRow>
      <Stack gap={16}>
        {project === undefined && a === undefined && b === undefined ? (
          <section className="panel">
            <Empty>Open a case and choose “Compare with another case” there.</Empty>
          </section>
        ) : (
          <div className="columns" style={{ gridTemplateColumns: 'minmax(0, 1fr) minmax(0, 1fr)' }}>
            <CaseSide side="a" item={first} cases={cases} />
            <CaseSide side="b" item={second} cases={cases} />
          </div>
        )}
        {first?.finding && second?.finding && dataset && <Beside a={first} b={second} dataset={dataset} />}
      </Stack>
    </div>
  )
}
