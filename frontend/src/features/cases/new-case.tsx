// A new case in three steps: the model, its data set, the affected image(s); cost and time are known before Start.
import { Button, Group, NumberInput, SegmentedControl, Select, Stack, Text, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { type ReactNode, useState } from 'react'
import {
  type AffectedSource,
  type CaseCreate,
  type ClassifierModel,
  createCase,
  type Dataset,
  estimateCase,
} from '@/client'
import { ConfusionTable } from '@/components/confusion-matrix'
import { CrossIcon } from '@/components/icons'
import { Mark } from '@/components/marks'
import { Facts, TitleRow } from '@/components/page'
import { PixelImage } from '@/components/pixel-image'
import { Empty, Loaded, ProblemPanel } from '@/components/states'
import { UploadPanel } from '@/components/upload-panel'
import { address, body, idempotencyKey } from '@/lib/api'
import { className, count, duration, percent, plural } from '@/lib/format'
import { q } from '@/lib/queries'
import { compact, numbers } from '@/lib/search'
import { CellImages } from '../models/cell-images'

interface Dropped {
  uploadId: string
  name: string
  preview: string
  trueLabel: number | null
}

function Step({ n, title, children }: { n: number; title: string; children: ReactNode }) {
  return (
    <section className="panel" aria-labelledby={`step-${n}`}>
      <h2 id={`step-${n}`}>
        <span className="quiet">{n}</span> {title}
      </h2>
      {children}
    </section>
  )
}

function AffectedPicker({
  projectId,
  model,
  dataset,
  tests,
  onTests,
  onDropped,
}: {
  projectId: string
  model: ClassifierModel
  dataset: Dataset
  tests: number[]
  onTests: (tests: number[]) => void
  onDropped: (dropped: Dropped) => void
}) {
  const search = useSearch({ from: '/app/p/$projectId/cases/new' })
  const navigate = useNavigate({ from: '/p/$projectId/cases/new' })
  const [source, setSource] = useState<'test' | 'file'>('test')
  const confusion = useQuery(q.confusion(model.id))
  const cell =
    search.label !== undefined && search.predicted !== undefined
      ? { label: search.label, predicted: search.predicted }
      : null
  return (
    <Stack gap={12}>
      <SegmentedControl
        aria-label="Where the affected image comes from"
        value={source}
        onChange={(value) => setSource(value as typeof source)}
        data={[
          { value: 'test', label: 'From the test split' },
          { value: 'file', label: 'Drop or paste a picture' },
        ]}
        style={{ alignSelf: 'flex-start' }}
      />
      {source === 'file' ? (
        <UploadPanel
          projectId={projectId}
          purpose="image"
          accept="image/*"
          paste
          hint={`Shown to the model at ${dataset.width} × ${dataset.height}; another size or mode is converted, and said.`}
          onFinished={(upload, file) =>
            onDropped({ uploadId: upload.id, name: file.name, preview: URL.createObjectURL(file), trueLabel: null })
          }
        />
      ) : (
        <div style={{ display: 'flex', flexWrap: 'wrap', gap: 16 }}>
          <Loaded query={confusion}>
            {(matrix) => (
              <ConfusionTable
                confusion={matrix}
                picked={cell}
                onPick={(label, predicted) =>
                  void navigate({ search: (old) => ({ ...old, label, predicted }), replace: true, resetScroll: false })
                }
              />
            )}
          </Loaded>
          <div style={{ flex: '1 1 260px', minWidth: 0 }}>
            {cell ? (
              <CellImages
                model={model}
                dataset={dataset}
                cell={cell}
                chosen={tests}
                onChoose={({ index }) =>
                  onTests(tests.includes(index) ? tests.filter((i) => i !== index) : [...tests, index])
                }
              />
            ) : (
              <Empty>Choose a cell of the matrix, then the image that the model gets wrong.</Empty>
            )}
          </div>
        </div>
      )}
    </Stack>
  )
}

function Chosen({ children, onRemove, label }: { children: ReactNode; onRemove: () => void; label: string }) {
  return (
    <div style={{ display: 'flex', gap: 8, alignItems: 'center' }}>
      {children}
      <Button
        size="compact-xs"
        variant="subtle"
        color="gray"
        aria-label={`Remove ${label}`}
        onClick={onRemove}
        ml="auto"
      >
        <CrossIcon />
      </Button>
    </div>
  )
}

export function NewCaseScreen() {
  const { projectId } = useParams({ from: '/app/p/$projectId/cases/new' })
  const search = useSearch({ from: '/app/p/$projectId/cases/new' })
  const navigate = useNavigate({ from: '/p/$projectId/cases/new' })
  const queries = useQueryClient()
  const models = useQuery(q.models(projectId))
  const datasets = useQuery(q.datasets(projectId)).data?.items ?? []
  const ready = models.data?.items.filter((m) => m.state === 'ready') ?? []
  const model = ready.find((m) => m.id === search.model) ?? (ready.length === 1 ? ready[0] : undefined)
  const dataset = datasets.find((d) => d.id === model?.dataset_id)
  const tests = numbers(search, 'test')
  const [dropped, setDropped] = useState<Dropped[]>([])
  const [typedName, setTypedName] = useState<string | null>(null)
  const [nQueries, setNQueries] = useState(50)
  const [seed, setSeed] = useState(0)
  const [suspects, setSuspects] = useState<'label' | 'all'>('label')

  const affected: AffectedSource[] = [
    ...tests.map((index) => ({ test_index: index })),
    ...dropped.map((d) => ({ upload_id: d.uploadId, true_label: d.trueLabel })),
  ]
  const suggested =
    dataset && search.label !== undefined && search.predicted !== undefined
      ? `${className(dataset.classes, search.label)} seen as ${className(dataset.classes, search.predicted)}`
      : `Case of ${new Date().toISOString().slice(0, 10)}`
  const name = typedName ?? suggested
  const question: CaseCreate = {
    name: name || suggested,
    model_id: model?.id ?? '',
    affected,
    n_queries: nQueries,
    seed,
    suspects,
    triggered_dataset_id: search.triggered ?? null,
  }
  const askable = model !== undefined && affected.length > 0
  const estimate = useQuery({
    queryKey: ['estimate', { ...question, name: '' }],
    queryFn: () => body(estimateCase({ path: { project_id: projectId }, body: question })),
    enabled: askable,
  })
  const start = useMutation({
    mutationFn: () =>
      body(
        createCase({
          path: { project_id: projectId },
          body: question,
          headers: { 'Idempotency-Key': idempotencyKey() },
        }),
      ),
    onSuccess: (created) => {
      void queries.invalidateQueries({ queryKey: ['cases'] })
      void queries.invalidateQueries({ queryKey: ['projects'] })
      void navigate({ to: '/c/$caseId', params: { caseId: created.id } })
    },
  })
  const set = (change: Partial<typeof search>) =>
    void navigate({ search: (old) => compact({ ...old, ...change }), replace: true, resetScroll: false })

  return (
    <div className="page">
      <TitleRow title="New case">
        <Button loading={start.isPending} disabled={!askable || !name} onClick={() => start.mutate()}>
          Start
        </Button>
      </TitleRow>
      <div className="columns" style={{ gridTemplateColumns: 'minmax(0, 1fr) 320px' }}>
        <Stack gap={16}>
          <Step n={1} title="Which model gets it wrong?">
            <Loaded query={models}>
              {() =>
                ready.length > 0 ? (
                  <Select
                    aria-label="Model"
                    placeholder="Choose a model"
                    data={ready.map((m) => ({
                      value: m.id,
                      label: `${m.name} · ${percent(m.accuracy_test)} on its test split`,
                    }))}
                    value={model?.id ?? null}
                    onChange={(id) =>
                      set({ model: id ?? undefined, test: undefined, label: undefined, predicted: undefined })
                    }
                    maw={520}
                  />
                ) : (
                  <Empty
                    action={
                      <Link to="/p/$projectId/models" params={{ projectId }}>
                        Add a model
                      </Link>
                    }
                  >
                    No model is ready.
                  </Empty>
                )
              }
            </Loaded>
          </Step>
          {model && (
            <Step n={2} title="Which data was it trained on?">
              {dataset ? (
                <Group align="end" gap={24}>
                  <Facts
                    items={[
                      ['Data set', dataset.name],
                      ['Training images', `${count(dataset.n_train)}, all of them are scored`],
                      ['Fits the model', `${percent(model.accuracy_train)} of training images predicted as labelled`],
                    ]}
                  />
                  <Select
                    label="Images known to carry the trigger (optional)"
                    description="Measures the poison success rate before and after the repair"
                    clearable
                    placeholder="none"
                    data={datasets
                      .filter((d) => d.state === 'ready' && d.id !== dataset.id)
                      .map((d) => ({ value: d.id, label: d.name }))}
                    value={search.triggered ?? null}
                    onChange={(id) => set({ triggered: id ?? undefined })}
                    style={{ flex: 1, minWidth: 280 }}
                  />
                </Group>
              ) : (
                <Text c="dimmed">The data set of this model is not in this project.</Text>
              )}
            </Step>
          )}
          {model && dataset && (
            <Step n={3} title="Which image is affected?">
              <AffectedPicker
                projectId={projectId}
                model={model}
                dataset={dataset}
                tests={tests}
                onTests={(next) => set({ test: next.length > 0 ? next.join(',') : undefined })}
                onDropped={(d) => setDropped((all) => [...all, d])}
              />
            </Step>
          )}
        </Stack>
        <Stack gap={16} style={{ position: 'sticky', top: 16 }}>
          <section className="panel">
            <h2>{affected.length > 1 ? `${affected.length} affected images` : 'Affected image'}</h2>
            <Stack gap={8}>
              {affected.length === 0 && <Text c="dimmed">None chosen yet.</Text>}
              {dataset &&
                tests.map((index, i) => (
                  <Chosen
                    key={index}
                    label={`test image ${index}`}
                    onRemove={() => set({ test: tests.filter((t) => t !== index).join(',') || undefined })}
                  >
                    <PixelImage src={address.pixels(dataset.id, index)} alt={`Test image ${index}`} size={64} />
                    <div style={{ fontSize: 12 }}>
                      <Mark kind="affected" /> test image <span className="mono">{index}</span>
                      {typeof estimate.data?.predictions[i] === 'number' && (
                        <div>seen as {className(dataset.classes, estimate.data.predictions[i])}</div>
                      )}
                    </div>
                  </Chosen>
                ))}
              {dataset &&
                dropped.map((d) => (
                  <Chosen
                    key={d.uploadId}
                    label={d.name}
                    onRemove={() => setDropped((all) => all.filter((other) => other !== d))}
                  >
                    <PixelImage src={d.preview} alt={d.name} size={64} />
                    <div style={{ fontSize: 12, minWidth: 0 }}>
                      <Mark kind="affected" /> {d.name}
                      <Select
                        aria-label={`What ${d.name} really shows`}
                        size="xs"
                        placeholder="really shows…"
                        clearable
                        data={dataset.classes.map((c, label) => ({ value: String(label), label: c }))}
                        value={d.trueLabel === null ? null : String(d.trueLabel)}
                        onChange={(value) =>
                          setDropped((all) =>
                            all.map((other) =>
                              other === d ? { ...d, trueLabel: value === null ? null : Number(value) } : other,
                            ),
                          )
                        }
                      />
                    </div>
                  </Chosen>
                ))}
            </Stack>
          </section>
          <section className="panel">
            <h2>Before you start</h2>
            <Stack gap={12}>
              <TextInput
                label="Name of the case"
                required
                value={name}
                onChange={(event) => setTypedName(event.currentTarget.value)}
              />
              <details>
                <summary>Parameters</summary>
                <Stack gap={8} mt={8}>
                  <NumberInput
                    label="Transformed queries for each image (n_b)"
                    min={10}
                    max={200}
                    value={nQueries}
                    onChange={(value) => setNQueries(Number(value) || 50)}
                  />
                  <NumberInput label="Seed" min={0} value={seed} onChange={(value) => setSeed(Number(value) || 0)} />
                  <Select
                    label="Suspects"
                    data={[
                      { value: 'label', label: 'Images that carry the predicted label' },
                      { value: 'all', label: 'All training images' },
                    ]}
                    value={suspects}
                    onChange={(value) => setSuspects(value as typeof suspects)}
                  />
                </Stack>
              </details>
              {askable && (
                <Loaded query={estimate}>
                  {(answer) => (
                    <div aria-live="polite">
                      <Facts
                        items={[
                          ['Time', answer.seconds === null ? 'not known yet' : `about ${duration(answer.seconds)}`],
                          [
                            'Index',
                            answer.index_ready ? 'ready: only the queries run' : 'is built first, once for this model',
                          ],
                          ['Scores', plural(dataset?.n_train ?? 0, 'training image')],
                        ]}
                      />
                      {answer.notes.map((note) => (
                        <p key={note} style={{ margin: '8px 0 0' }}>
                          ◐ {note}
                        </p>
                      ))}
                    </div>
                  )}
                </Loaded>
              )}
              {start.error && <ProblemPanel error={start.error} />}
            </Stack>
          </section>
        </Stack>
      </div>
    </div>
  )
}
