// The data sets of a project, and the way in: drop an archive, name it, read it.
import { Button, Group, Select, Stack, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams } from '@tanstack/react-router'
import { useState } from 'react'
import { createDataset, type Dataset, type DatasetCreate, type Upload } from '@/client'
import { DatasetIcon } from '@/components/icons'
import { TitleRow } from '@/components/page'
import { Empty, Loaded, ProblemPanel } from '@/components/states'
import { StateChip } from '@/components/status'
import { UploadPanel } from '@/components/upload-panel'
import { body, idempotencyKey } from '@/lib/api'
import { ago, count } from '@/lib/format'
import { q } from '@/lib/queries'

const baseName = (file: string) => file.replace(/\.(zip|tar|tar\.gz|tgz)$/i, '')

function NewDataset({ projectId }: { projectId: string }) {
  const navigate = useNavigate()
  const queries = useQueryClient()
  const [upload, setUpload] = useState<Upload | null>(null)
  const [name, setName] = useState('')
  const [onBroken, setOnBroken] = useState<NonNullable<DatasetCreate['on_broken']>>('refuse')
  const create = useMutation({
    mutationFn: (uploadId: string) =>
      body(
        createDataset({
          path: { project_id: projectId },
          body: { upload_id: uploadId, name, on_broken: onBroken },
          headers: { 'Idempotency-Key': idempotencyKey() },
        }),
      ),
    onSuccess: (dataset) => {
      void queries.invalidateQueries({ queryKey: ['datasets'] })
      void navigate({ to: '/p/$projectId/datasets/$datasetId', params: { projectId, datasetId: dataset.id } })
    },
  })
  return (
    <section className="panel">
      <h2>Add a data set</h2>
      <Stack gap={12}>
        <UploadPanel
          projectId={projectId}
          purpose="dataset"
          accept=".zip,.tar,.gz,.tgz"
          hint="A zip or tar with one folder per class, at any depth; folders train and test are kept as splits."
          onFinished={(finished, file) => {
            setUpload(finished)
            setName((old) => old || baseName(file.name))
          }}
        />
        {upload && (
          <Group align="end" gap={12}>
            <TextInput
              label="Name"
              required
              value={name}
              onChange={(event) => setName(event.currentTarget.value)}
              style={{ flex: 1 }}
            />
            <Select
              label="Images that cannot be decoded"
              data={[
                { value: 'refuse', label: 'Refuse the data set' },
                { value: 'skip', label: 'Leave them out, with a list' },
              ]}
              value={onBroken}
              onChange={(value) => setOnBroken(value as typeof onBroken)}
              w={240}
            />
            <Button loading={create.isPending} disabled={!name} onClick={() => create.mutate(upload.id)}>
              Read data set
            </Button>
          </Group>
        )}
        {create.error && <ProblemPanel error={create.error} />}
      </Stack>
    </section>
  )
}

function DatasetsTable({ projectId, datasets }: { projectId: string; datasets: Dataset[] }) {
  return (
    <table className="table">
      <thead>
        <tr>
          <th>Name</th>
          <th>State</th>
          <th style={{ textAlign: 'right' }}>Training</th>
          <th style={{ textAlign: 'right' }}>Test</th>
          <th style={{ textAlign: 'right' }}>Classes</th>
          <th style={{ textAlign: 'right' }}>Size</th>
          <th>Lineage</th>
          <th>Added</th>
        </tr>
      </thead>
      <tbody>
        {datasets.map((dataset) => (
          <tr key={dataset.id}>
            <td>
              <Link to="/p/$projectId/datasets/$datasetId" params={{ projectId, datasetId: dataset.id }}>
                {dataset.name}
              </Link>
            </td>
            <td>
              <StateChip state={dataset.state} />
            </td>
            <td className="number">{count(dataset.n_train)}</td>
            <td className="number">{count(dataset.n_test)}</td>
            <td className="number">{dataset.classes.length || '–'}</td>
            <td className="number">
              {dataset.width ? `${dataset.width} × ${dataset.height} × ${dataset.channels}` : '–'}
            </td>
            <td className="quiet">{dataset.parent_id ? `cleansed, ${count(dataset.n_removed ?? 0)} removed` : '–'}</td>
            <td>{ago(dataset.created_at)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

export function DatasetsScreen() {
  const { projectId } = useParams({ from: '/app/p/$projectId/datasets' })
  const query = useQuery(q.datasets(projectId))
  return (
    <div className="page">
      <TitleRow title="Data sets" />
      <Stack gap={16}>
        <section className="panel">
          <Loaded query={query}>
            {(page) =>
              page.items.length > 0 ? (
                <DatasetsTable projectId={projectId} datasets={page.items} />
              ) : (
                <Empty icon={<DatasetIcon />}>No data set yet. Add the training images of the model below.</Empty>
              )
            }
          </Loaded>
        </section>
        <NewDataset projectId={projectId} />
      </Stack>
    </div>
  )
}
