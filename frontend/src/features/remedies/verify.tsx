// The proof of a repair, before and after: affected images, accuracy of each class, poison success rate, what else changed.
import { Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useParams, useSearch } from '@tanstack/react-router'
import type { Case, Dataset, Remedy, Verification } from '@/client'
import { Digest } from '@/components/copy'
import { HowObtained } from '@/components/derived'
import { TilePicture } from '@/components/gallery'
import { JobProgress } from '@/components/job-progress'
import { Mark } from '@/components/marks'
import { Facts, Stat } from '@/components/page'
import { PixelImage } from '@/components/pixel-image'
import { Plot } from '@/components/plot'
import { Empty, Loaded } from '@/components/states'
import { StateChip } from '@/components/status'
import { address } from '@/lib/api'
import { naturalZoom } from '@/lib/atlas'
import { className, count, duration, percent, plural, score } from '@/lib/format'
import { q } from '@/lib/queries'
import { methods } from './methods'
import { RemediesTable } from './remedies-table'

function Headline({ remedy, proof }: { remedy: Remedy; proof: Verification }) {
  const healed = proof.affected.filter((a) => a.healed).length
  return (
    <section className="panel" aria-label="Verdict on the repair">
      <StateChip state={remedy.state} />
      <p style={{ fontSize: 20, lineHeight: '28px', margin: '12px 0 20px', maxWidth: 960 }}>{proof.sentence}</p>
      <div style={{ display: 'grid', gridTemplateColumns: 'repeat(auto-fit, minmax(150px, 1fr))', gap: 16 }}>
        <Stat name="Affected images healed" value={`${healed} of ${proof.affected.length}`} />
        <Stat
          name="Accuracy on the test split"
          value={`${percent(proof.accuracy_before)} → ${percent(proof.accuracy_after)}`}
        />
        {typeof proof.psr_before === 'number' && typeof proof.psr_after === 'number' && (
          <Stat
            name={
              <>
                Poison success rate{' '}
                <HowObtained what="the poison success rate">
                  Share of {count(proof.n_triggered ?? 0)} images known to carry the trigger that the model predicts as
                  the poison's label.
                </HowObtained>
              </>
            }
            value={`${percent(proof.psr_before)} → ${percent(proof.psr_after)}`}
          />
        )}
        <Stat
          name="Predictions changed"
          value={count(proof.n_changed)}
          note={`of ${count(proof.n_test)} test images`}
        />
        <Stat name="Removed" value={count(remedy.n_removed)} note="training images" />
      </div>
    </section>
  )
}

function AffectedTable({ item, dataset, proof }: { item: Case; dataset: Dataset; proof: Verification }) {
  return (
    <section className="panel">
      <h2>Affected images, before and after</h2>
      <table className="table">
        <thead>
          <tr>
            <th style={{ width: 80 }}>Image</th>
            <th>Really</th>
            <th>Before</th>
            <th style={{ textAlign: 'right' }}>Margin before</th>
            <th>After</th>
            <th style={{ textAlign: 'right' }}>Margin after</th>
            <th style={{ textAlign: 'right' }}>Predicted</th>
            <th>Healed</th>
          </tr>
        </thead>
        <tbody>
          {proof.affected.map((a) => (
            <tr key={a.number}>
              <td>
                <PixelImage src={address.affected(item.id, a.number)} alt={`Affected image ${a.number}`} size={64} />
              </td>
              <td>{className(dataset.classes, a.true_label)}</td>
              <td>{className(dataset.classes, a.before_predicted)}</td>
              <td className="number">{score(a.before_margin)}</td>
              <td>{className(dataset.classes, a.after_predicted)}</td>
              <td className="number">{score(a.after_margin)}</td>
              <td className="number">{score(a.predicted_margin)}</td>
              <td>
                <span className="chip">
                  <Mark kind={a.healed ? 'clean' : 'poison'} size={10} /> {a.healed ? 'healed' : 'not healed'}
                </span>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <Text size="xs" c="dimmed" mt={8}>
        Margin: logit of the label predicted before, minus logsumexp of the others. Negative: no longer predicted.
        Predicted: what the preview expected of this removal.
      </Text>
    </section>
  )
}

function ClassAccuracy({ remedyId }: { remedyId: string }) {
  const figure = useQuery(q.remedyFigure(remedyId))
  return (
    <section className="panel">
      <h2>Accuracy of each class</h2>
      <Loaded query={figure}>
        {(f) => <Plot data={f.data} layout={f.layout} height={300} label="Accuracy of each class before and after" />}
      </Loaded>
    </section>
  )
}

function Changed({ dataset, proof }: { dataset: Dataset; proof: Verification }) {
  const atlas = dataset.atlas
  if (!atlas) return null
  return (
    <section className="panel">
      <h2>
        Test images whose prediction changed{' '}
        <span className="quiet" style={{ fontWeight: 400 }}>
          {count(Math.min(120, proof.changed.length))} of {count(proof.n_changed)} shown
        </span>
      </h2>
      {proof.changed.length === 0 && <Text c="dimmed">None: the repair changed nothing else.</Text>}
      <div style={{ display: 'flex', flexWrap: 'wrap', gap: 4 }}>
        {proof.changed.slice(0, 120).map((index) => (
          <Link
            key={index}
            to="/p/$projectId/datasets/$datasetId"
            params={{ projectId: dataset.project_id, datasetId: dataset.id }}
            search={{ i: index }}
            aria-label={`Test image ${index}`}
            className="tile"
          >
            <TilePicture datasetId={dataset.id} atlas={atlas} index={index} zoom={naturalZoom(atlas.tile)} />
          </Link>
        ))}
      </div>
    </section>
  )
}

function Made({ item, remedy, proof }: { item: Case; remedy: Remedy; proof: Verification }) {
  const projectId = item.project_id
  return (
    <section className="panel">
      <h2>What was made</h2>
      <Facts
        items={[
          ['Method', methods[remedy.method].title],
          ...Object.entries(proof.settings ?? {}).map(([name, value]): [string, string] => [
            name.replaceAll('_', ' '),
            typeof value === 'number' ? score(value) : value,
          ]),
          [
            'Model',
            remedy.model_id ? (
              <Link key="m" to="/p/$projectId/models/$modelId" params={{ projectId, modelId: remedy.model_id }}>
                repaired model
              </Link>
            ) : (
              '–'
            ),
          ],
          [
            'Data set',
            remedy.cleansed_dataset_id ? (
              <Link
                key="d"
                to="/p/$projectId/datasets/$datasetId"
                params={{ projectId, datasetId: remedy.cleansed_dataset_id }}
              >
                cleansed version
              </Link>
            ) : (
              '–'
            ),
          ],
          [
            'Removed',
            <a key="r" href={address.removed(remedy.id)} download>
              {plural(remedy.n_removed, 'image')} (CSV)
            </a>,
          ],
          ['Digest of the set', <Digest key="g" value={remedy.removed_digest} />],
          ['Epochs, seed', `${remedy.epochs ?? 'default'}, ${remedy.seed}`],
          ['Took', duration(proof.seconds)],
          ['By', remedy.created_by],
        ]}
      />
    </section>
  )
}

export function VerifyScreen() {
  const { caseId } = useParams({ from: '/app/c/$caseId' })
  const search = useSearch({ from: '/app/c/$caseId/verify' })
  const query = useQuery(q.case(caseId))
  const remedies = useQuery({
    ...q.remedies(caseId),
    refetchInterval: (state) => (state.state.data?.some((r) => r.state === 'running') ? 2000 : false),
  })
  const dataset = useQuery({ ...q.dataset(query.data?.dataset_id ?? ''), enabled: query.data !== undefined })
  return (
    <Loaded query={query}>
      {(item) => (
        <Loaded query={remedies}>
          {(all) => {
            const remedy = all.find((r) => r.id === search.remedy) ?? all.find((r) => r.verification) ?? all[0]
            if (!remedy) {
              return (
                <section className="panel">
                  <Empty
                    action={
                      <Link to="/c/$caseId/repair" params={{ caseId }} className="primary-link">
                        Repair the model
                      </Link>
                    }
                  >
                    There is no repair to verify yet.
                  </Empty>
                </section>
              )
            }
            return (
              <Stack gap={16}>
                {all.length > 1 && (
                  <section className="panel">
                    <h2>Compare remedies</h2>
                    <RemediesTable remedies={all} shown={remedy.id} />
                  </section>
                )}
                {!remedy.verification && (
                  <section className="panel">
                    {remedy.error && <Text mb={8}>{remedy.error}</Text>}
                    <JobProgress jobId={remedy.job_id} title="Repair and verify" />
                  </section>
                )}
                {remedy.verification && dataset.data && (
                  <>
                    <Headline remedy={remedy} proof={remedy.verification} />
                    <div className="columns" style={{ gridTemplateColumns: 'minmax(0, 2fr) minmax(280px, 1fr)' }}>
                      <Stack gap={16}>
                        <AffectedTable item={item} dataset={dataset.data} proof={remedy.verification} />
                        <ClassAccuracy remedyId={remedy.id} />
                        <Changed dataset={dataset.data} proof={remedy.verification} />
                      </Stack>
                      <Made item={item} remedy={remedy} proof={remedy.verification} />
                    </div>
                  </>
                )}
              </Stack>
            )
          }}
        </Loaded>
      )}
    </Loaded>
  )
}
