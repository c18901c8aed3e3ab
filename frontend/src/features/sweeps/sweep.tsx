// A sweep: what every class shows, the images that it flags, and the test images from which a case can begin.
import { Button, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { useState } from 'react'
import type { Dataset, Sweep, SweepClass, SweepOutcome } from '@/client'
import { CopyMenu } from '@/components/copy'
import { HowObtained } from '@/components/derived'
import { TilePicture } from '@/components/gallery'
import { JobProgress } from '@/components/job-progress'
import { TitleRow } from '@/components/page'
import { Plot } from '@/components/plot'
import { Empty, Loaded } from '@/components/states'
import { EvidenceChip, StateChip } from '@/components/status'
import { naturalZoom } from '@/lib/atlas'
import { className, count, duration, moment, percent, plural, pValue } from '@/lib/format'
import { q } from '@/lib/queries'

/** Tiles that are drawn of a class; the count says how many there are. */
const SHOWN = 120

function Headline({ sweep, outcome }: { sweep: Sweep; outcome: SweepOutcome }) {
  const figure = useQuery(q.sweepFigure(sweep.id))
  return (
    <section className="panel" aria-label="Outcome">
      <p style={{ fontSize: 20, lineHeight: '28px', margin: '0 0 12px', maxWidth: 880 }}>{outcome.sentence}</p>
      <Loaded query={figure}>
        {(f) => <Plot data={f.data} layout={f.layout} height={260} label="Statistic of every class" />}
      </Loaded>
      <Text size="xs" c="dimmed" mt={8}>
        {count(outcome.n_train)} training images in {duration(outcome.seconds)}, started {moment(sweep.created_at)} by{' '}
        {sweep.created_by}.
      </Text>
    </section>
  )
}

function ClassesTable({
  outcome,
  classes,
  picked,
  onPick,
}: {
  outcome: SweepOutcome
  classes: readonly string[]
  picked: number
  onPick: (label: number) => void
}) {
  return (
    <section className="panel" aria-label="Every class" style={{ overflowX: 'auto' }}>
      <h2>
        Every class{' '}
        <HowObtained what="the evidence of a class">
          The group of its training images that stands out most, and how much of the class's test images is in it too. A
          natural group is about as common in both; poison is in the training data alone. The p-value is corrected for
          the number of groups; a class is accused at the strict level (at most .01).
        </HowObtained>
      </h2>
      <table className="table">
        <thead>
          <tr>
            <th>Class</th>
            <th>Evidence</th>
            {['p-value', 'In training', 'In test', 'Images', 'Flagged'].map((name) => (
              <th key={name} style={{ textAlign: 'right' }}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {outcome.classes.map((c) => (
            <tr key={c.label} style={c.label === picked ? { background: 'var(--faint)' } : undefined}>
              <td>
                <button
                  type="button"
                  className="tab"
                  aria-pressed={c.label === picked}
                  onClick={() => onPick(c.label)}
                  style={{ fontWeight: c.label === picked ? 600 : undefined, padding: 0, textAlign: 'left' }}
                >
                  {className(classes, c.label)}
                </button>
              </td>
              <td>
                <EvidenceChip level={c.evidence} strict={c.level === 'strict'} />
              </td>
              <td className="number">{pValue(c.p_value).replace('p = ', '').replace('p ', '')}</td>
              <td className="number">{percent(c.share_suspects)}</td>
              <td className="number">{percent(c.share_counterparts)}</td>
              <td className="number">{count(c.n_images)}</td>
              <td className="number">{count(c.n_flagged)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

function Flagged({ sweep, dataset, found }: { sweep: Sweep; dataset: Dataset; found: SweepClass }) {
  const query = useQuery(q.sweepFlagged(sweep.id, found.label))
  const atlas = dataset.atlas
  if (!atlas) return null
  return (
    <section className="panel" aria-label="Flagged images of the class">
      <Loaded query={query}>
        {({ indices }) => (
          <>
            <h2>
              Flagged in {className(dataset.classes, found.label)}{' '}
              <span className="quiet" style={{ fontWeight: 400 }}>
                {count(Math.min(SHOWN, indices.length))} of {count(indices.length)} shown, most suspicious first
              </span>
            </h2>
            {indices.length === 0 && <Text c="dimmed">None: nothing in this class stands out.</Text>}
            <div style={{ display: 'flex', flexWrap: 'wrap', gap: 4 }}>
              {indices.slice(0, SHOWN).map((index) => (
                <Link
                  key={index}
                  to="/p/$projectId/datasets/$datasetId"
                  params={{ projectId: dataset.project_id, datasetId: dataset.id }}
                  search={{ i: index }}
                  aria-label={`Training image ${index}`}
                  className="tile"
                >
                  <TilePicture datasetId={dataset.id} atlas={atlas} index={index} zoom={naturalZoom(atlas.tile)} />
                </Link>
              ))}
            </div>
          </>
        )}
      </Loaded>
    </section>
  )
}

/** Test images that are wrongly given the class: what a case would explain. */
function Candidates({ sweep, dataset, label }: { sweep: Sweep; dataset: Dataset; label: number }) {
  const navigate = useNavigate()
  const query = useQuery(q.mistaken(sweep.model_id, label))
  const [chosen, setChosen] = useState<number[]>([])
  const atlas = dataset.atlas
  const name = className(dataset.classes, label)
  const shown = chosen.filter((index) => query.data?.items.some((p) => p.index === index))
  return (
    <section className="panel" aria-label="Open a case">
      <div className="panel-head">
        <h2>Test images wrongly seen as {name}</h2>
        <Button
          size="xs"
          disabled={shown.length === 0}
          onClick={() =>
            void navigate({
              to: '/p/$projectId/cases/new',
              params: { projectId: sweep.project_id },
              search: { model: sweep.model_id, test: shown.join(',') },
            })
          }
        >
          Investigate {shown.length > 0 ? shown.length : ''}
        </Button>
      </div>
      <Loaded query={query}>
        {(page) =>
          page.items.length === 0 || !atlas ? (
            <Empty>
              No test image is wrongly given this class. With a picture that is, a{' '}
              <Link
                to="/p/$projectId/cases/new"
                params={{ projectId: sweep.project_id }}
                search={{ model: sweep.model_id }}
              >
                new case
              </Link>{' '}
              can begin.
            </Empty>
          ) : (
            <>
              <Text size="xs" c="dimmed" mb={8}>
                {plural(page.items.length, 'image')}, most confident first. Choose those that look suspicious.
              </Text>
              <div style={{ display: 'flex', flexWrap: 'wrap', gap: 4 }}>
                {page.items.map((prediction) => (
                  <button
                    key={prediction.index}
                    type="button"
                    className="tile"
                    aria-pressed={chosen.includes(prediction.index)}
                    aria-label={`Test image ${prediction.index}, really ${className(dataset.classes, prediction.label)}`}
                    onClick={() =>
                      setChosen((all) =>
                        all.includes(prediction.index)
                          ? all.filter((i) => i !== prediction.index)
                          : [...all, prediction.index],
                      )
                    }
                  >
                    <TilePicture
                      datasetId={dataset.id}
                      atlas={atlas}
                      index={prediction.index}
                      zoom={naturalZoom(atlas.tile)}
                    />
                  </button>
                ))}
              </div>
            </>
          )
        }
      </Loaded>
    </section>
  )
}

function Outcome({ sweep, outcome, dataset }: { sweep: Sweep; outcome: SweepOutcome; dataset: Dataset }) {
  const search = useSearch({ from: '/app/p/$projectId/sweeps/$sweepId' })
  const navigate = useNavigate({ from: '/p/$projectId/sweeps/$sweepId' })
  const suspicious = [...outcome.classes].sort((a, b) => a.p_value - b.p_value || b.statistic - a.statistic)[0]
  const picked = outcome.classes.find((c) => c.label === search.label) ?? suspicious
  return (
    <>
      <Headline sweep={sweep} outcome={outcome} />
      <div className="columns" style={{ gridTemplateColumns: 'minmax(min-content, 3fr) minmax(0, 2fr)' }}>
        <ClassesTable
          outcome={outcome}
          classes={dataset.classes}
          picked={picked.label}
          onPick={(label) => void navigate({ search: { label }, replace: true, resetScroll: false })}
        />
        <Stack gap={16}>
          <Flagged sweep={sweep} dataset={dataset} found={picked} />
          <Candidates sweep={sweep} dataset={dataset} label={picked.label} />
        </Stack>
      </div>
    </>
  )
}

export function SweepScreen() {
  const { projectId, sweepId } = useParams({ from: '/app/p/$projectId/sweeps/$sweepId' })
  const query = useQuery({
    ...q.sweep(sweepId),
    refetchInterval: (state) => (state.state.data?.state === 'running' ? 2000 : false),
  })
  const known = query.data !== undefined
  const dataset = useQuery({ ...q.dataset(query.data?.dataset_id ?? ''), enabled: known }).data
  const model = useQuery({ ...q.model(query.data?.model_id ?? ''), enabled: known }).data
  return (
    <div className="page">
      <Loaded query={query}>
        {(sweep) => (
          <>
            <TitleRow title={`Sweep of ${model?.name ?? 'a model'}`} chip={<StateChip state={sweep.state} />}>
              <CopyMenu path={`/api/v1/sweeps/${sweepId}`} />
              <Link
                to="/p/$projectId/models/$modelId"
                params={{ projectId, modelId: sweep.model_id }}
                className="mantine-focus-auto"
              >
                The model
              </Link>
            </TitleRow>
            <Stack gap={16}>
              {sweep.outcome && dataset ? (
                <Outcome sweep={sweep} outcome={sweep.outcome} dataset={dataset} />
              ) : (
                <section className="panel">
                  <h2>{sweep.state === 'running' ? 'Looking at every class' : 'No outcome'}</h2>
                  {sweep.error && <Text mb={12}>{sweep.error}</Text>}
                  {sweep.job_id && <JobProgress jobId={sweep.job_id} />}
                </section>
              )}
            </Stack>
          </>
        )}
      </Loaded>
    </div>
  )
}
