// The models of a project, and the way in: drop a safetensors file, say which data set it was trained on.
import { Autocomplete, Button, FileButton, Group, JsonInput, Select, Stack, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams } from '@tanstack/react-router'
import { useCallback, useEffect, useState } from 'react'
import {
  type CardGuess,
  type ClassifierModel,
  convertUpload,
  createModel,
  type Dataset,
  type ModelCard,
  type Upload,
} from '@/client'
import type { Column } from '@/components/data-table'
import { ModelIcon } from '@/components/icons'
import { JobProgress } from '@/components/job-progress'
import { ListPage } from '@/components/list-page'
import { ProblemPanel } from '@/components/states'
import { StateChip } from '@/components/status'
import { UploadPanel } from '@/components/upload-panel'
import { body, idempotencyKey } from '@/lib/api'
import { ago, count, percent } from '@/lib/format'
import { q } from '@/lib/queries'

const normalisations: Record<string, { label: string; mean: number[]; std: number[] }> = {
  imagenet: { label: 'ImageNet', mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  cifar10: { label: 'CIFAR-10', mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] },
  half: { label: 'Mean .5, deviation .5', mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  none: { label: 'None: pixels in 0 to 1', mean: [0, 0, 0], std: [1, 1, 1] },
}

interface CardFields {
  architecture: string
  normalisation: string
  json: string
}

/** The card that the form says: the JSON where there is some, else the fields and what the data set has. */
function cardOf(fields: CardFields, dataset: Dataset | undefined, channels: number): ModelCard | null {
  if (fields.json.trim() !== '') return JSON.parse(fields.json) as ModelCard
  if (!fields.architecture || !dataset?.width || !dataset.height) return null
  const { mean, std } = normalisations[fields.normalisation]
  return {
    architecture: fields.architecture,
    classes: dataset.classes,
    input_size: [dataset.height, dataset.width],
    channels: channels === 1 ? 1 : 3,
    mean: mean.slice(0, channels),
    std: std.slice(0, channels),
  }
}

function CardForm({
  guess,
  dataset,
  fields,
  onChange,
}: {
  guess: CardGuess
  dataset: Dataset | undefined
  fields: CardFields
  onChange: (fields: CardFields) => void
}) {
  const offered = useQuery(q.architectures()).data ?? []
  const names = [...new Set([...guess.architectures, ...offered.map((a) => a.name)])]
  if (guess.card) {
    return (
      <p className="quiet" style={{ margin: 0 }}>
        The file says what it is: <span className="mono">{guess.card.architecture}</span>, {guess.card.classes.length}{' '}
        classes, {guess.card.input_size.join(' × ')}.
      </p>
    )
  }
  return (
    <Stack gap={8}>
      <p style={{ margin: 0 }}>
        {guess.architectures.length > 0
          ? `The file has no model card. Its tensors are those of ${guess.architectures[0]} with ${guess.n_classes ?? 'some'} classes.`
          : 'The file has no model card, and its tensors fit none of the architectures that are recognised. Say what it is.'}
      </p>
      {dataset && guess.n_classes !== null && guess.n_classes !== dataset.classes.length && (
        <p style={{ margin: 0 }}>
          ◐ The data set has {dataset.classes.length} classes, the model {guess.n_classes}: choose another data set.
        </p>
      )}
      <Group align="end" gap={12}>
        <Autocomplete
          label="Architecture"
          description="Or torchvision:NAME, timm:NAME"
          data={names}
          value={fields.architecture}
          onChange={(architecture) => onChange({ ...fields, architecture })}
          w={280}
        />
        <Select
          label="Normalisation in training"
          description="A wrong one shows in the accuracy of the check"
          data={Object.entries(normalisations).map(([value, { label }]) => ({ value, label }))}
          value={fields.normalisation}
          onChange={(normalisation) => onChange({ ...fields, normalisation: normalisation ?? 'imagenet' })}
          w={260}
        />
      </Group>
      <details>
        <summary>Or the whole card as JSON</summary>
        <FileButton
          accept="application/json,.json"
          onChange={(file) => void file?.text().then((json) => onChange({ ...fields, json }))}
          inputProps={{ 'aria-label': 'Model card as a JSON file' }}
        >
          {(props) => (
            <Button size="xs" variant="default" mt={8} {...props}>
              Choose a JSON file
            </Button>
          )}
        </FileButton>
        <JsonInput
          aria-label="Model card as JSON"
          mt={8}
          autosize
          minRows={4}
          formatOnBlur
          validationError="This is not JSON."
          placeholder='{"architecture": "…", "classes": ["…"], "input_size": [32, 32], "channels": 3, "mean": [0, 0, 0], "std": [1, 1, 1]}'
          value={fields.json}
          onChange={(json) => onChange({ ...fields, json })}
        />
      </details>
    </Stack>
  )
}

/** Whether a file is a zip, as torch.save writes them: safetensors never are. */
async function startsAsZip(file: File): Promise<boolean> {
  const head = new Uint8Array(await file.slice(0, 4).arrayBuffer())
  return String.fromCharCode(...head) === 'PK\x03\x04'
}

/** A PyTorch file is made into safetensors by a job, which ends in another upload. */
function Conversion({ source, onConverted }: { source: Upload; onConverted: (upload: Upload) => void }) {
  const convert = useMutation({ mutationFn: () => body(convertUpload({ path: { upload_id: source.id } })) })
  const made = useQuery({
    ...q.upload(convert.data?.id ?? ''),
    enabled: convert.data !== undefined,
    refetchInterval: (query) => (query.state.data?.state === 'finished' ? false : 1000),
  }).data
  useEffect(() => {
    if (made?.state === 'finished') onConverted(made)
  }, [made, onConverted])
  return (
    <Stack gap={8}>
      <p style={{ margin: 0 }}>
        This is a PyTorch file, which can run code when it is opened. It is read in a process without network that is
        thrown away afterwards, and only its tensors are kept, as safetensors.
      </p>
      {convert.data?.job_id ? (
        <JobProgress jobId={convert.data.job_id} />
      ) : (
        <Button w="fit-content" loading={convert.isPending} onClick={() => convert.mutate()}>
          Convert to safetensors
        </Button>
      )}
      {convert.error && <ProblemPanel error={convert.error} />}
    </Stack>
  )
}

function NewModel({ projectId }: { projectId: string }) {
  const navigate = useNavigate()
  const queries = useQueryClient()
  const datasets = useQuery(q.datasets(projectId)).data?.items.filter((d) => d.state === 'ready') ?? []
  const [upload, setUpload] = useState<Upload | null>(null)
  const [name, setName] = useState('')
  const [datasetId, setDatasetId] = useState<string | null>(null)
  const [fields, setFields] = useState<CardFields | null>(null)
  const [isTorchFile, setTorchFile] = useState(false)
  const guessing = useQuery({
    ...q.cardGuess(upload?.id ?? ''),
    enabled: upload !== null && !isTorchFile,
    retry: false,
  })
  const guess = guessing.data
  const dataset = datasetId ?? datasets[0]?.id ?? null
  const chosen = datasets.find((d) => d.id === dataset)
  const filled = fields ?? {
    architecture: guess?.architectures[0] ?? '',
    normalisation: guess?.architectures[0]?.includes(':') ? 'imagenet' : 'cifar10',
    json: '',
  }
  const create = useMutation({
    mutationFn: (uploadId: string) =>
      body(
        createModel({
          path: { project_id: projectId },
          body: {
            upload_id: uploadId,
            name,
            dataset_id: dataset ?? '',
            card: guess?.card ? null : cardOf(filled, chosen, guess?.channels ?? chosen?.channels ?? 3),
          },
          headers: { 'Idempotency-Key': idempotencyKey() },
        }),
      ),
    onSuccess: (model) => {
      void queries.invalidateQueries({ queryKey: ['models'] })
      void navigate({ to: '/p/$projectId/models/$modelId', params: { projectId, modelId: model.id } })
    },
  })
  const converted = useCallback((made: Upload) => {
    setTorchFile(false)
    setUpload(made)
  }, [])
  return (
    <section className="panel">
      <h2>Add a model</h2>
      <Stack gap={12}>
        <UploadPanel
          projectId={projectId}
          purpose="model"
          accept=".safetensors,.pt,.pth,.bin"
          hint="Weights as safetensors. Its metadata names architecture, classes, input size, mean and deviation, or you give them below."
          onFinished={(finished, file) => {
            void startsAsZip(file).then((isZip) => {
              setTorchFile(isZip)
              setUpload(finished)
            })
            setName((old) => old || file.name.replace(/\.(safetensors|pt|pth|bin)$/i, ''))
          }}
        />
        {upload && isTorchFile && <Conversion source={upload} onConverted={converted} />}
        {guessing.error && <ProblemPanel error={guessing.error} />}
        {upload && !isTorchFile && !guessing.error && (
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
            {guess && <CardForm guess={guess} dataset={chosen} fields={filled} onChange={setFields} />}
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
      path={`/api/v1/projects/${projectId}/models`}
      query={query}
      columns={columns(projectId, (id) => datasets.find((d) => d.id === id)?.name ?? '–')}
      icon={<ModelIcon />}
      empty="No model yet. Add its data set first, then drop the weights below."
    >
      <NewModel projectId={projectId} />
    </ListPage>
  )
}
