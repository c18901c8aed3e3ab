// A drill: what was planted, whether it took hold, what was found of it, and the case that can be opened on it.
import { Button, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import type { Dataset, Detection, Drill, DrillOutcome } from '@/client'
import { CopyMenu } from '@/components/copy'
import { HowObtained } from '@/components/derived'
import { JobProgress } from '@/components/job-progress'
import { Facts, Stat, TitleRow } from '@/components/page'
import { PixelImage } from '@/components/pixel-image'
import { Plot } from '@/components/plot'
import { Loaded } from '@/components/states'
import { EvidenceChip, StateChip } from '@/components/status'
import { address } from '@/lib/api'
import { className, count, duration, moment, percent, pValue, share } from '@/lib/format'
import { q } from '@/lib/queries'
import { compact } from '@/lib/search'

function Headline({ outcome }: { outcome: DrillOutcome }) {
  return (
    <section className="panel" aria-label="Outcome">
      <div style={{ display: 'flex', gap: 12, alignItems: 'baseline', flexWrap: 'wrap' }}>
        <EvidenceChip level={outcome.evidence} strict={outcome.level === 'strict'} />
        <span className="mono">{pValue(outcome.p_value)}</span>
      </div>
      <p style={{ fontSize: 20, lineHeight: '28px', margin: '12px 0 20px', maxWidth: 880 }}>{outcome.sentence}</p>
      <div style={{ display: 'grid', gridTemplateColumns: 'repeat(auto-fit, minmax(150px, 1fr))', gap: 16 }}>
        <Stat
          name={
            <>
              Poison success rate{' '}
              <HowObtained what="the poison success rate">
                Share of {count(outcome.n_victims)} victims among the test images
                {outcome.has_trigger ? ', with the trigger on them,' : ''} that the model takes for what the attack
                wants.
              </HowObtained>
            </>
          }
          value={percent(outcome.poison_success_rate)}
          note={outcome.took_hold ? 'the poison took hold' : 'it did not take hold: train longer, or raise the rate'}
        />
        <Stat name="Planted" value={count(outcome.n_poison)} note={`of ${count(outcome.n_train)} training images`} />
        <Stat
          name="Precision"
          value={share(outcome.collapse_rule.precision)}
          note="share of the flagged that were planted"
        />
        <Stat name="Recall" value={share(outcome.collapse_rule.recall)} note="share of the planted that is flagged" />
        <Stat name="Accuracy" value={percent(outcome.accuracy)} note="of the poisoned model on clean test images" />
      </div>
    </section>
  )
}

function Rules({ outcome }: { outcome: DrillOutcome }) {
  const rows: [string, Detection, number | null][] = [
    ['Collapse rule', outcome.collapse_rule, outcome.collapse_curve.average_precision],
    ['Paper rule', outcome.paper_rule, outcome.paper_curve.average_precision],
  ]
  return (
    <table className="table">
      <thead>
        <tr>
          <th>Rule</th>
          {['Flagged', 'Precision', 'Recall', 'Average precision'].map((name) => (
            <th key={name} style={{ textAlign: 'right' }}>
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map(([name, found, average]) => (
          <tr key={name}>
            <td>{name}</td>
            <td className="number">{count(found.n_flagged)}</td>
            <td className="number">{share(found.precision)}</td>
            <td className="number">{share(found.recall)}</td>
            <td className="number">{share(average)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function AgainstTruth({ drill, outcome }: { drill: Drill; outcome: DrillOutcome }) {
  const figure = useQuery(q.drillFigure(drill.id))
  return (
    <section className="panel" aria-label="Against the truth">
      <h2>
        Against the truth{' '}
        <HowObtained what="the curves">
          Every training image is ranked by the rule's score; cutting the ranking at each place gives a recall and a
          precision. The mark is the set that the rule flags by itself.
        </HowObtained>
      </h2>
      <Loaded query={figure}>
        {(f) => <Plot data={f.data} layout={f.layout} height={320} label="Precision against recall of both rules" />}
      </Loaded>
      <Rules outcome={outcome} />
    </section>
  )
}

function Investigated({
  drill,
  outcome,
  classes,
}: {
  drill: Drill
  outcome: DrillOutcome
  classes: readonly string[]
}) {
  const picture = (image: DrillOutcome['affected'][number]) =>
    image.triggered_index !== null && drill.triggered_dataset_id
      ? address.pixels(drill.triggered_dataset_id, image.triggered_index)
      : drill.poisoned_dataset_id && image.test_index !== null
        ? address.pixels(drill.poisoned_dataset_id, image.test_index)
        : null
  return (
    <section className="panel">
      <h2>{outcome.affected.length > 1 ? 'Investigated images' : 'Investigated image'}</h2>
      <div style={{ display: 'flex', gap: 12, flexWrap: 'wrap' }}>
        {outcome.affected.map((image) => {
          const src = picture(image)
          const number = image.triggered_index ?? image.test_index
          return (
            src && (
              <PixelImage
                key={number}
                src={src}
                alt={`Investigated image ${number}`}
                size={outcome.affected.length > 1 ? 64 : 128}
              />
            )
          )
        })}
      </div>
      <Text mt={8}>
        seen as <strong>{className(classes, outcome.predicted)}</strong>
        {outcome.source !== null && `, really ${className(classes, outcome.source)}`}
      </Text>
    </section>
  )
}

/** What the new-case screen is opened with: the drill's model, and the images that it investigated. */
export function caseOf(drill: Drill) {
  const affected = drill.outcome?.affected ?? []
  const list = (numbers: (number | null)[]) => numbers.filter((n) => n !== null).join(',') || undefined
  return compact({
    model: drill.model_id ?? undefined,
    triggered: drill.triggered_dataset_id ?? undefined,
    carriers: list(affected.map((a) => a.triggered_index)),
    test: list(affected.map((a) => a.test_index)),
  })
}

function Planted({ drill, source }: { drill: Drill; source: Dataset | undefined }) {
  const attack = useQuery(q.attacks()).data?.find((a) => a.name === drill.attack)
  const projectId = drill.project_id
  const classes = source?.classes ?? []
  const dataset = (id: string | null, name: string) =>
    id ? (
      <Link key={id} to="/p/$projectId/datasets/$datasetId" params={{ projectId, datasetId: id }}>
        {name}
      </Link>
    ) : (
      '–'
    )
  const options = Object.entries(drill.options)
  return (
    <section className="panel">
      <h2>What was planted</h2>
      <Facts
        items={[
          ['Attack', attack?.title ?? drill.attack],
          ['Rate', percent(drill.rate)],
          ['Victim class', drill.outcome ? victim(drill.outcome, classes) : className(classes, drill.source)],
          ['Target label', className(classes, drill.outcome ? drill.outcome.target : drill.target)],
          ...options.map(([name, value]): [string, string] => [name.replaceAll('_', ' '), String(value)]),
          ['Architecture', <code key="a">{drill.architecture}</code>],
          ['Epochs, seed', `${drill.epochs}, ${drill.seed}`],
          ['Clean data set', dataset(drill.dataset_id, source?.name ?? 'data set')],
          ['Poisoned data set', dataset(drill.poisoned_dataset_id, 'with the poison in it')],
          ['Triggered images', dataset(drill.triggered_dataset_id, 'test images with the trigger')],
          [
            'Model',
            drill.model_id ? (
              <Link key="m" to="/p/$projectId/models/$modelId" params={{ projectId, modelId: drill.model_id }}>
                trained on the poison
              </Link>
            ) : (
              '–'
            ),
          ],
          ['Took', duration(drill.outcome?.seconds)],
          ['Started', `${moment(drill.created_at)} by ${drill.created_by}`],
        ]}
      />
    </section>
  )
}

const victim = (outcome: DrillOutcome, classes: readonly string[]) =>
  outcome.source === null ? 'every class but the target' : className(classes, outcome.source)

export function DrillScreen() {
  const { projectId, drillId } = useParams({ from: '/app/p/$projectId/drills/$drillId' })
  const query = useQuery({
    ...q.drill(drillId),
    refetchInterval: (state) => (state.state.data?.state === 'running' ? 2000 : false),
  })
  const source = useQuery({ ...q.dataset(query.data?.dataset_id ?? ''), enabled: query.data !== undefined }).data
  return (
    <div className="page">
      <Loaded query={query}>
        {(drill) => (
          <>
            <TitleRow title={drill.name} chip={<StateChip state={drill.state} />}>
              <CopyMenu path={`/api/v1/drills/${drillId}`} />
              {drill.outcome && (
                <Button
                  renderRoot={(props) => (
                    <Link to="/p/$projectId/cases/new" params={{ projectId }} search={caseOf(drill)} {...props} />
                  )}
                >
                  Open as a case
                </Button>
              )}
            </TitleRow>
            <Stack gap={16}>
              {drill.outcome ? (
                <Headline outcome={drill.outcome} />
              ) : (
                <section className="panel">
                  <h2>{drill.state === 'running' ? 'Planting, training, investigating' : 'No outcome'}</h2>
                  {drill.error && <Text mb={12}>{drill.error}</Text>}
                  {drill.job_id && <JobProgress jobId={drill.job_id} />}
                </section>
              )}
              <div className="columns" style={{ gridTemplateColumns: 'minmax(0, 1fr) minmax(300px, 400px)' }}>
                {drill.outcome ? <AgainstTruth drill={drill} outcome={drill.outcome} /> : <div />}
                <Stack gap={16}>
                  {drill.outcome && (
                    <Investigated drill={drill} outcome={drill.outcome} classes={source?.classes ?? []} />
                  )}
                  <Planted drill={drill} source={source} />
                </Stack>
              </div>
            </Stack>
          </>
        )}
      </Loaded>
    </div>
  )
}
