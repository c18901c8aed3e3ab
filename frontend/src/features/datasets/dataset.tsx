// A data set: its classes, what intake did to the files, and every image in a grid.
import { Select, Stack } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { useCallback, useEffect, useMemo, useState } from 'react'
import { type Dataset, deleteDataset, type IntakeReport, updateDataset } from '@/client'
import { CopyMenu, Digest } from '@/components/copy'
import { Gallery } from '@/components/gallery'
import { JobProgress } from '@/components/job-progress'
import { Keeping } from '@/components/keeping'
import { Facts, TitleRow } from '@/components/page'
import { Empty, Loaded } from '@/components/states'
import { StateChip } from '@/components/status'
import { address, body } from '@/lib/api'
import { naturalZoom } from '@/lib/atlas'
import { filterRows } from '@/lib/columns'
import { className, count, duration, plural } from '@/lib/format'
import { isTyping, keyAction, movePlace } from '@/lib/keys'
import { q } from '@/lib/queries'
import { compact } from '@/lib/search'
import { ClassBars } from './class-bars'
import { ImageDetails } from './image-details'

const nobody: ReadonlySet<number> = new Set()

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

function Browser({ dataset }: { dataset: Dataset }) {
  const search = useSearch({ from: '/app/p/$projectId/datasets/$datasetId' })
  const navigate = useNavigate({ from: '/p/$projectId/datasets/$datasetId' })
  const set = useCallback(
    (change: Partial<typeof search>) =>
      void navigate({ search: (old) => compact({ ...old, ...change }), replace: true, resetScroll: false }),
    [navigate],
  )
  const query = useQuery(q.datasetColumns(dataset.id))
  const [columns, setColumns] = useState(1)
  const table = query.data
  const { split, label, show } = search
  const order = useMemo(() => {
    if (!table) return new Int32Array()
    const rows = filterRows(
      table.n,
      (row) =>
        (split === undefined || table.split[row] === (split === 'train' ? 0 : 1)) &&
        (label === undefined || table.label[row] === label) &&
        (show === undefined ||
          (show === 'converted'
            ? table.converted[row] === 1
            : table.duplicate[row] >= (show === 'duplicates' ? 1 : 2))),
    )
    return rows.map((row) => table.index[row])
  }, [table, split, label, show])
  const labels = useMemo(() => {
    const map = new Map<number, number>()
    if (table) for (let row = 0; row < table.n; row++) map.set(table.index[row], table.label[row])
    return map
  }, [table])
  const labelOf = useCallback((index: number) => className(dataset.classes, labels.get(index)), [dataset, labels])
  const pick = useCallback((index: number) => set({ i: index }), [set])
  const zoom = search.zoom ?? naturalZoom(dataset.atlas?.tile ?? 32)

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (isTyping(event.target) || order.length === 0) return
      const action = keyAction(event)
      if (action?.kind === 'move') {
        event.preventDefault()
        const place = search.i === undefined ? -1 : order.indexOf(search.i)
        set({ i: order[place < 0 ? 0 : movePlace(place, order.length, columns, action.by)] })
      } else if (action?.kind === 'zoom') {
        set({ zoom: Math.max(1, Math.min(6, zoom + action.step)) })
      } else if (action?.kind === 'clear') {
        set({ i: undefined })
      }
    }
    window.addEventListener('keydown', onKey)
    return () => window.removeEventListener('keydown', onKey)
  }, [order, columns, search.i, set, zoom])

  if (!dataset.atlas) return null
  const atlas = dataset.atlas
  return (
    <div className="columns" style={{ gridTemplateColumns: 'minmax(0, 1fr) 376px', alignItems: 'start' }}>
      <section className="panel panel-tight" style={{ display: 'flex', flexDirection: 'column', gap: 8, height: 620 }}>
        <div style={{ display: 'flex', gap: 12, alignItems: 'center' }}>
          <Select
            aria-label="Split"
            size="xs"
            w={120}
            data={[
              { value: '', label: 'Both splits' },
              { value: 'train', label: 'Training' },
              { value: 'test', label: 'Test' },
            ]}
            value={split ?? ''}
            onChange={(value) => set({ split: (value || undefined) as typeof split })}
          />
          <Select
            aria-label="Class"
            size="xs"
            w={150}
            searchable
            data={[
              { value: '', label: 'All classes' },
              ...dataset.classes.map((name, i) => ({ value: String(i), label: name })),
            ]}
            value={label === undefined ? '' : String(label)}
            onChange={(value) => set({ label: value ? Number(value) : undefined })}
          />
          <Select
            aria-label="What intake noticed"
            size="xs"
            w={190}
            data={[
              { value: '', label: 'All images' },
              { value: 'converted', label: 'Converted' },
              { value: 'duplicates', label: 'Duplicates' },
              { value: 'other_label', label: 'Duplicates, other label' },
            ]}
            value={show ?? ''}
            onChange={(value) => set({ show: (value || undefined) as typeof show })}
          />
          <span className="quiet" style={{ marginLeft: 'auto', fontSize: 12 }} role="status">
            {table ? `${count(order.length)} of ${count(table.n)} images` : ''}
          </span>
        </div>
        <Loaded query={query}>
          {() =>
            order.length > 0 ? (
              <Gallery
                name="Images of the data set"
                datasetId={dataset.id}
                atlas={atlas}
                order={order}
                zoom={zoom}
                selected={nobody}
                focused={search.i ?? null}
                labelOf={labelOf}
                onPick={pick}
                onColumns={setColumns}
              />
            ) : (
              <Empty>No image passes these filters.</Empty>
            )
          }
        </Loaded>
      </section>
      {search.i === undefined ? (
        <section className="panel">
          <Empty>Choose an image to see the pixels that the model sees, and its original file.</Empty>
        </section>
      ) : (
        <ImageDetails dataset={dataset} index={search.i} />
      )}
    </div>
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
