// A new case in three steps: the model, its data set, the affected image(s); cost and time are known before Start.
import { Button, Group, NumberInput, Select, Stack, Text, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { type ReactNode, useState } from 'react'
import { type CaseCreate, createCase, estimateCase } from '@/client'
import { Facts, TitleRow } from '@/components/page'
import { Empty, Loaded, ProblemPanel } from '@/components/states'
import { body, idempotencyKey } from '@/lib/api'
import { className, count, duration, percent, plural } from '@/lib/format'
import { q } from '@/lib/queries'
import { compact, numbers } from '@/lib/search'
import { AffectedPicker } from './affected-picker'
import { ChosenImages, choices, type Dropped } from './chosen-images'

type Engine = NonNullable<CaseCreate['engine']>
type Rule = NonNullable<CaseCreate['rule']>

const engines = [
  { value: 'fingerprint', label: 'Gradient fingerprints' },
  { value: 'ekfac', label: 'EK-FAC, exact gradients' },
]
const engineNote: Record<Engine, string> = {
  fingerprint: 'Projected gradients, kept as an index: answers in seconds.',
  ekfac: 'Every gradient in full, with the EK-FAC inverse: minutes, and nearer to the exact influence.',
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
  const carriers = numbers(search, 'carriers')
  const triggered = datasets.find((d) => d.id === search.triggered)
  const former = useQuery({ ...q.case(search.of ?? ''), enabled: search.of !== undefined }).data
  const [dropped, setDropped] = useState<Dropped[]>([])
  const [keptNumbers, setKept] = useState<number[] | null>(null)
  const kept = keptNumbers ?? former?.affected.map((a) => a.number) ?? []
  const [typedName, setTypedName] = useState<string | null>(null)
  const [nQueries, setNQueries] = useState(50)
  const [seed, setSeed] = useState(0)
  const [suspects, setSuspects] = useState<'label' | 'all'>('label')
  const [engine, setEngine] = useState<Engine>('fingerprint')
  const [rule, setRule] = useState<Rule>('collapse')

  const set = (change: Partial<typeof search>) =>
    void navigate({ search: (old) => compact({ ...old, ...change }), replace: true, resetScroll: false })
  const listed = (all: number[]) => all.join(',') || undefined
  const chosen = dataset
    ? choices({
        dataset,
        triggered,
        former,
        tests,
        carriers,
        dropped,
        kept,
        set: {
          tests: (all) => set({ test: listed(all) }),
          carriers: (all) => set({ carriers: listed(all) }),
          dropped: setDropped,
          kept: setKept,
        },
      })
    : []
  const affected = chosen.map((choice) => choice.source)
  const suggested = former
    ? `${former.name}, again`.slice(0, 120)
    : dataset && search.label !== undefined && search.predicted !== undefined
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
    engine,
    rule,
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

  return (
    <div className="page">
      <TitleRow title={former ? `Investigate again: ${former.name}` : 'New case'}>
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
                      set({
                        model: id ?? undefined,
                        test: undefined,
                        label: undefined,
                        predicted: undefined,
                        of: undefined,
                      })
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
                    onChange={(id) => set({ triggered: id ?? undefined, carriers: undefined })}
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
                triggered={triggered}
                tests={tests}
                onTests={(next) => set({ test: listed(next) })}
                carriers={carriers}
                onCarriers={(next) => set({ carriers: listed(next) })}
                onDropped={(d) => setDropped((all) => [...all, d])}
              />
            </Step>
          )}
        </Stack>
        <Stack gap={16} style={{ position: 'sticky', top: 16 }}>
          <ChosenImages
            chosen={chosen}
            classes={dataset?.classes ?? []}
            predictions={estimate.data?.predictions ?? []}
          />
          <section className="panel">
            <h2>Before you start</h2>
            <Stack gap={12}>
              <TextInput
                label="Name of the case"
                required
                value={name}
                onChange={(event) => setTypedName(event.currentTarget.value)}
              />
              <Select
                label="Engine"
                description={engineNote[engine]}
                data={engines}
                value={engine}
                allowDeselect={false}
                onChange={(value) => setEngine(value as Engine)}
              />
              <details>
                <summary>Parameters</summary>
                <Stack gap={8} mt={8}>
                  <Select
                    label="Rule that flags"
                    description="The scores of both are kept"
                    data={[
                      { value: 'collapse', label: 'Collapse rule' },
                      { value: 'paper', label: 'Paper rule (Delta-Influence)' },
                    ]}
                    value={rule}
                    allowDeselect={false}
                    onChange={(value) => setRule(value as Rule)}
                  />
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
