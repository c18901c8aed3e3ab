// A data set: its classes, what intake did to the files, and every image in a grid.
import { Stack } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams } from '@tanstack/react-router'
import { type Dataset, deleteDataset, type IntakeReport, updateDataset } from '@/client'
import { CopyMenu, Digest } from '@/components/copy'
import { JobProgress } from '@/components/job-progress'
import { Keeping } from '@/components/keeping'
import { Facts, TitleRow } from '@/components/page'
import { Loaded } from '@/components/states'
import { StateChip } from '@/components/status'
import { address, body } from '@/lib/api'
import { count, duration, plural } from '@/lib/format'
import { q } from '@/lib/queries'
import { Browser } from './browser'
import { ClassBars } from './class-bars'

/** The first image of every kind that intake converted, or found twice. */
function Examples({ dataset, examples }: { dataset: Dataset; examples: Record<string, number> }) {
  return (
    <ul className="examples" aria-label="An example of each">
      {Object.entries(examples).map(([what, index]) => (
        <li key={what}>
          <Link
            to="/p/$projectId/datasets/$datasetId"
            params={{ projectId: dataset.project_id, datasetId: dataset.id }}
            search={{ i: index }}
            aria-label={`Image ${index}: ${what}`}
          >
            <img src={address.pixels(dataset.id, index)} alt="" width={48} height={48} loading="lazy" />
          </Link>
          <span className="quiet">{what}</span>
        </li>
      ))}
    </ul>
  )
}

function Intake({ dataset, intake }: { dataset: Dataset; intake: IntakeReport }) {
  const converted = Object.entries(intake.converted)
  return (
    <section className="panel">
      <h2>Intake report</h2>
      <Facts
        items={[
          ['Split', intake.split === 'given' ? 'as in the archive' : 'seeded: 10 % of each class became test'],
          [
            'Converted',
            converted.length === 0
              ? 'nothing'
              : converted.map(([what, n]) => `${what.replaceAll('_', ' ')}: ${count(n)}`).join(' · '),
          ],
          ['Duplicates', plural(intake.n_duplicates, 'image')],
          ['Skipped', plural(intake.n_skipped, 'file')],
          ['Took', duration(intake.seconds)],
        ]}
      />
      {Object.keys(intake.examples ?? {}).length > 0 && <Examples dataset={dataset} examples={intake.examples ?? {}} />}
      {intake.skipped.length > 0 && (
        <details style={{ marginTop: 8 }}>
          <summary>
            {intake.skipped.length < intake.n_skipped
              ? `${count(intake.skipped.length)} of ${count(intake.n_skipped)} skipped files`
              : 'Skipped files'}
          </summary>
          <ul className="mono" style={{ maxHeight: 200, overflowY: 'auto', paddingLeft: 16 }}>
            {intake.skipped.map((file) => (
              <li key={file.name}>
                {file.name}: {file.reason}
              </li>
            ))}
          </ul>
        </details>
      )}
    </section>
  )
}

function Identity({ dataset, projectId }: { dataset: Dataset; projectId: string }) {
  return (
    <section className="panel">
      <h2>Identity</h2>
      <Facts
        items={[
          ['Images', `${count(dataset.n_train)} training, ${count(dataset.n_test)} test`],
          ['Size', `${dataset.width} × ${dataset.height}, ${dataset.channels === 1 ? 'grey' : 'colour'}`],
          ['Content', <Digest key="c" value={dataset.digest} />],
          ['Archive', <Digest key="a" value={dataset.sha256} />],
          ...(dataset.parent_id
            ? [
                [
                  'Cleansed from',
                  <Link
                    key="p"
                    to="/p/$projectId/datasets/$datasetId"
                    params={{ projectId, datasetId: dataset.parent_id }}
                  >
                    the version before ({count(dataset.n_removed ?? 0)} removed)
                  </Link>,
                ] as [string, React.ReactNode],
              ]
            : []),
          ...(dataset.drill_id
            ? [
                [
                  'Origin',
                  <Link key="d" to="/p/$projectId/drills/$drillId" params={{ projectId, drillId: dataset.drill_id }}>
                    made by a drill
                  </Link>,
                ] as [string, React.ReactNode],
              ]
            : []),
          [
            'Export',
            <span key="e">
              <a href={address.archive(dataset.id)} download>
                images (zip)
              </a>
              {', '}
              <a href={address.indexList(dataset.id)} download>
                index list (CSV)
              </a>
            </span>,
          ],
        ]}
      />
    </section>
  )
}

function DatasetKeeping({ dataset }: { dataset: Dataset }) {
  const navigate = useNavigate()
  const queries = useQueryClient()
  const path = { dataset_id: dataset.id }
  return (
    <Keeping
      what="data set"
      preserved={dataset.preserved ?? false}
      consequence={`Delete ${plural(dataset.n_train + dataset.n_test, 'image')} for good`}
      condition="Only a data set that no model, case, drill or version is grounded on can be deleted."
      onPreserve={async (preserved) => {
        await body(updateDataset({ path, body: { preserved } }))
        await queries.invalidateQueries({ queryKey: ['dataset'] })
      }}
      onDelete={async () => {
        await body(deleteDataset({ path }))
        void queries.invalidateQueries({ queryKey: ['datasets'] })
        void queries.invalidateQueries({ queryKey: ['projects'] })
        void navigate({ to: '/p/$projectId/datasets', params: { projectId: dataset.project_id } })
      }}
    />
  )
}

export function DatasetScreen() {
  const { projectId, datasetId } = useParams({ from: '/app/p/$projectId/datasets/$datasetId' })
  const query = useQuery({
    ...q.dataset(datasetId),
    refetchInterval: (state) => (state.state.data?.state === 'ingesting' ? 2000 : false),
  })
  return (
    <div className="page">
      <Loaded query={query}>
        {(dataset) => (
          <>
            <TitleRow title={dataset.name} chip={<StateChip state={dataset.state} />}>
              <CopyMenu path={`/api/v1/datasets/${datasetId}`} />
            </TitleRow>
            <Stack gap={16}>
              {dataset.state !== 'ready' && dataset.job_id && (
                <section className="panel">
                  <JobProgress jobId={dataset.job_id} />
                </section>
              )}
              {dataset.state === 'ready' && (
                <>
                  <div
                    className="columns"
                    style={{ gridTemplateColumns: 'minmax(0, 1fr) minmax(280px, 376px)', alignItems: 'stretch' }}
                  >
                    <section className="panel">
                      <h2>Images of each class</h2>
                      <ClassBars dataset={dataset} height={300} />
                    </section>
                    <Stack gap={16}>
                      <Identity dataset={dataset} projectId={projectId} />
                      {dataset.intake && <Intake dataset={dataset} intake={dataset.intake} />}
                    </Stack>
                  </div>
                  <Browser dataset={dataset} />
                </>
              )}
              {dataset.state !== 'ingesting' && <DatasetKeeping dataset={dataset} />}
            </Stack>
          </>
        )}
      </Loaded>
    </div>
  )
}
