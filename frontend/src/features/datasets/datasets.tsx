// The data sets of a project, and the way in: drop an archive, name it, read it.
import { Button, Group, NumberInput, type NumberInputProps, Select, Stack, Textarea, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams } from '@tanstack/react-router'
import { useState } from 'react'
import { createDataset, type Dataset, type DatasetCreate, type Upload } from '@/client'
import type { Column } from '@/components/data-table'
import { DatasetIcon } from '@/components/icons'
import { ListPage } from '@/components/list-page'
import { ProblemPanel } from '@/components/states'
import { StateChip } from '@/components/status'
import { UploadPanel } from '@/components/upload-panel'
import { body, idempotencyKey } from '@/lib/api'
import { readClassNames } from '@/lib/class-names'
import { ago, count } from '@/lib/format'
import { q } from '@/lib/queries'

/** Both edges, one for both, or none: the most frequent size of the images. */
function sizeOf(width: number | string, height: number | string): DatasetCreate['size'] {
  const [w, h] = [Number(width), Number(height)]
  return w || h ? { width: w || h, height: h || w } : null
}

function Edge(props: Pick<NumberInputProps, 'label' | 'placeholder' | 'value' | 'onChange'>) {
  return <NumberInput min={4} max={1024} allowDecimal={false} w={130} {...props} />
}

const baseName = (file: string) => file.replace(/\.(zip|tar|tar\.gz|tgz|tar\.zst|npz|parquet)$/i, '')

function NewDataset({ projectId }: { projectId: string }) {
  const navigate = useNavigate()
  const queries = useQueryClient()
  const [upload, setUpload] = useState<Upload | null>(null)
  const [name, setName] = useState('')
  const [onBroken, setOnBroken] = useState<NonNullable<DatasetCreate['on_broken']>>('refuse')
  const [width, setWidth] = useState<number | string>('')
  const [height, setHeight] = useState<number | string>('')
  const [labels, setLabels] = useState<NonNullable<DatasetCreate['labels']>>('fine')
  const [seed, setSeed] = useState<number | string>(0)
  const [names, setNames] = useState('')
  const isCifar100 = /cifar-?_?100/i.test(upload?.filename ?? '')
  const create = useMutation({
    mutationFn: (uploadId: string) =>
      body(
        createDataset({
          path: { project_id: projectId },
          body: {
            upload_id: uploadId,
            name,
            on_broken: onBroken,
            size: sizeOf(width, height),
            labels: isCifar100 ? labels : null,
            split_seed: typeof seed === 'number' ? seed : 0,
            class_names: readClassNames(names),
          },
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
          accept=".zip,.tar,.gz,.tgz,.zst,.npz,.parquet"
          hint="A zip or tar with one folder per class, at any depth; folders train and test are kept as splits. Or Parquet (Hugging Face), NPZ, IDX (MNIST), or the binary version of CIFAR-10 or CIFAR-100 as it is published."
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
              label="Broken images"
              data={[
                { value: 'refuse', label: 'Refuse the data set' },
                { value: 'skip', label: 'Leave them out, with a list' },
              ]}
              value={onBroken}
              onChange={(value) => setOnBroken(value as typeof onBroken)}
              w={240}
            />
            <Edge label="Resize to width" placeholder="usual" value={width} onChange={setWidth} />
            <Edge
              label="and height"
              placeholder={width ? String(width) : 'usual'}
              value={height}
              onChange={setHeight}
            />
            {isCifar100 && (
              <Select
                label="Classes of CIFAR-100"
                data={[
                  { value: 'fine', label: '100 fine classes' },
                  { value: 'coarse', label: '20 coarse classes' },
                ]}
                value={labels}
                onChange={(value) => setLabels(value as typeof labels)}
                w={170}
              />
            )}
            <Button loading={create.isPending} disabled={!name} onClick={() => create.mutate(upload.id)}>
              Read data set
            </Button>
          </Group>
        )}
        {upload && (
          <details>
            <summary>Split and class names</summary>
            <Group align="start" gap={12} mt={8}>
              <NumberInput
                label="Seed of the test split"
                description="Where the archive has no test folder, a tenth of each class is set aside."
                min={0}
                allowDecimal={false}
                w={260}
                value={seed}
                onChange={setSeed}
              />
              <Textarea
                label="Other names for classes"
                description="A line each: folder, name. Two folders with one name become one class."
                placeholder={'n01440764, tench\nn02102040, springer'}
                autosize
                minRows={2}
                maxRows={8}
                style={{ flex: 1 }}
                value={names}
                onChange={(event) => setNames(event.currentTarget.value)}
              />
            </Group>
          </details>
        )}
        {create.error && <ProblemPanel error={create.error} />}
      </Stack>
    </section>
  )
}

const columns = (projectId: string): Column<Dataset>[] => [
  {
    name: 'Name',
    cell: (dataset) => (
      <Link to="/p/$projectId/datasets/$datasetId" params={{ projectId, datasetId: dataset.id }}>
        {dataset.name}
      </Link>
    ),
  },
  { name: 'State', cell: (dataset) => <StateChip state={dataset.state} /> },
  { name: 'Training', numeric: true, cell: (dataset) => count(dataset.n_train) },
  { name: 'Test', numeric: true, cell: (dataset) => count(dataset.n_test) },
  { name: 'Classes', numeric: true, cell: (dataset) => dataset.classes.length || '–' },
  {
    name: 'Size',
    numeric: true,
    cell: (dataset) => (dataset.width ? `${dataset.width} × ${dataset.height} × ${dataset.channels}` : '–'),
  },
  { name: 'Lineage', cell: (dataset) => <span className="quiet">{lineage(dataset)}</span> },
  { name: 'Added', cell: (dataset) => ago(dataset.created_at) },
]

function lineage(dataset: Dataset): string {
  if (dataset.parent_id) return `cleansed, ${count(dataset.n_removed ?? 0)} removed`
  return dataset.drill_id ? 'made by a drill' : 'uploaded'
}

export function DatasetsScreen() {
  const { projectId } = useParams({ from: '/app/p/$projectId/datasets' })
  const query = useQuery(q.datasets(projectId))
  return (
    <ListPage
      title="Data sets"
      path={`/api/v1/projects/${projectId}/datasets`}
      query={query}
      columns={columns(projectId)}
      icon={<DatasetIcon />}
      empty="No data set yet. Add the training images of the model below."
    >
      <NewDataset projectId={projectId} />
    </ListPage>
  )
}
