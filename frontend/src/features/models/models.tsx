// The models of a project, and the way in: drop a safetensors file, say which data set it was trained on.
import { Button, Group, JsonInput, Select, Stack, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams } from '@tanstack/react-router'
import { useState } from 'react'
import { type ClassifierModel, createModel, type ModelCard, type Upload } from '@/client'
import type { Column } from '@/components/data-table'
import { ModelIcon } from '@/components/icons'
import { ListPage } from '@/components/list-page'
import { ProblemPanel } from '@/components/states'
import { StateChip } from '@/components/status'
import { UploadPanel } from '@/components/upload-panel'
import { body, idempotencyKey } from '@/lib/api'
import { ago, count, percent } from '@/lib/format'
import { q } from '@/lib/queries'

function parseCard(text: string): ModelCard | null {
  if (text.trim() === '') return null
  return JSON.parse(text) as ModelCard
}

function NewModel({ projectId }: { projectId: string }) {
  const navigate = useNavigate()
  const queries = useQueryClient()
  const datasets = useQuery(q.datasets(projectId)).data?.items.filter((d) => d.state === 'ready') ?? []
  const [upload, setUpload] = useState<Upload | null>(null)
  const [name, setName] = useState('')
  const [datasetId, setDatasetId] = useState<string | null>(null)
  const [card, setCard] = useState('')
  const dataset = datasetId ?? datasets[0]?.id ?? null
  const create = useMutation({
    mutationFn: (uploadId: string) =>
      body(
        createModel({
          path: { project_id: projectId },
          body: { upload_id: uploadId, name, dataset_id: dataset ?? '', card: parseCard(card) },
          headers: { 'Idempotency-Key': idempotencyKey() },
        }),
      ),
    onSuccess: (model) => {
      void queries.invalidateQueries({ queryKey: ['models'] })
      void navigate({ to: '/p/$projectId/models/$modelId', params: { projectId, modelId: model.id } })
    },
  })
  return (
    <section className="panel">
      <h2>Add a model</h2>
      <Stack gap={12}>
        <UploadPanel
          projectId={projectId}
          purpose="model"
          accept=".safetensors"
          hint="Weights as safetensors. Its metadata names architecture, classes, input size, mean and deviation, or you give them below."
          onFinished={(finished, file) => {
            setUpload(finished)
            setName((old) => old || file.name.replace(/\.safetensors$/i, ''))
          }}
        />
        {upload && (
          <>
            <Group align="end" gap={12}>
              <TextInput
                label="Name"
                required
                value={name}
                onChange={(event) => setName(event.currentTarget.value)}
                style={{ flex: 1 }}
              />
              <Select
                label="Trained on"
                data={datasets.map((d) => ({ value: d.id, label: d.name }))}
                value={dataset}
                onChange={setDatasetId}
                nothingFoundMessage="No data set is ready"
                w={280}
              />
              <Button loading={create.isPending} disabled={!name || !dataset} onClick={() => create.mutate(upload.id)}>
                Check model
              </Button>
            </Group>
            <details>
              <summary>Model card, if the file has no metadata</summary>
              <JsonInput
                aria-label="Model card as JSON"
                mt={8}
                autosize
                minRows={4}
                formatOnBlur
                validationError="This is not JSON."
                placeholder='{"architecture": "…", "classes": ["…"], "input_size": [32, 32], "channels": 3, "mean": [0, 0, 0], "std": [1, 1, 1]}'
                value={card}
                onChange={setCard}
              />
            </details>
          </>
        )}
        {create.error && <ProblemPanel error={create.error} />}
      </Stack>
    </section>
  )
}

const columns = (projectId: string, nameOf: (datasetId: string) => string): Column<ClassifierModel>[] => [
  {
    name: 'Name',
    cell: (model) => (
      <Link to="/p/$projectId/models/$modelId" params={{ projectId, modelId: model.id }}>
        {model.name}
      </Link>
    ),
  },
  { name: 'State', cell: (model) => <StateChip state={model.state} /> },
  { name: 'Architecture', cell: (model) => <span className="mono">{model.card?.architecture ?? '–'}</span> },
  {
    name: 'Parameters',
    numeric: true,
    cell: (model) => (model.n_parameters === null ? '–' : count(model.n_parameters)),
  },
  { name: 'Test accuracy', numeric: true, cell: (model) => percent(model.accuracy_test) },
  { name: 'Data set', cell: (model) => nameOf(model.dataset_id) },
  { name: 'Origin', cell: (model) => <span className="quiet">{origin(model)}</span> },
  { name: 'Added', cell: (model) => ago(model.created_at) },
]

function origin(model: ClassifierModel): string {
  if (model.remedy_id) return 'repaired'
  return model.drill_id ? 'made by a drill' : 'uploaded'
}

export function ModelsScreen() {
  const { projectId } = useParams({ from: '/app/p/$projectId/models' })
  const query = useQuery(q.models(projectId))
  const datasets = useQuery(q.datasets(projectId)).data?.items ?? []
  return (
    <ListPage
      title="Models"
      query={query}
      columns={columns(projectId, (id) => datasets.find((d) => d.id === id)?.name ?? '–')}
      icon={<ModelIcon />}
      empty="No model yet. Add its data set first, then drop the weights below."
    >
      <NewModel projectId={projectId} />
    </ListPage>
  )
}
