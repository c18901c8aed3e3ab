// A model's card: what it is, how well it does, and its confusion matrix, whose cells lead to a case.
import { Button, Stack } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { useState } from 'react'
import { type ClassifierModel, deleteModel, updateModel } from '@/client'
import { ConfusionTable } from '@/components/confusion-matrix'
import { CopyMenu, Digest } from '@/components/copy'
import { HowObtained } from '@/components/derived'
import { JobProgress } from '@/components/job-progress'
import { Keeping } from '@/components/keeping'
import { Facts, Stat, TitleRow } from '@/components/page'
import { Empty, Loaded } from '@/components/states'
import { StateChip } from '@/components/status'
import { address, body } from '@/lib/api'
import { count, percent } from '@/lib/format'
import { q } from '@/lib/queries'
import { CellImages } from './cell-images'
import { ChecksPanel } from './checks'

function Card({ model, projectId }: { model: ClassifierModel; projectId: string }) {
  const dataset = useQuery(q.dataset(model.dataset_id)).data
  return (
    <section className="panel">
      <h2>Card</h2>
      <Facts
        items={[
          [
            'Architecture',
            <span key="a" className="mono">
              {model.card?.architecture ?? '–'}
            </span>,
          ],
          ['Parameters', model.n_parameters === null ? '–' : count(model.n_parameters)],
          ['Input', model.card ? `${model.card.input_size.join(' × ')} × ${model.card.channels}` : '–'],
          ['Classes', model.card ? model.card.classes.length : '–'],
          ['Weights', <Digest key="w" value={model.sha256} />],
          [
            'Trained on',
            <Link key="d" to="/p/$projectId/datasets/$datasetId" params={{ projectId, datasetId: model.dataset_id }}>
              {dataset?.name ?? 'data set'}
            </Link>,
          ],
          [
            'Origin',
            model.drill_id ? (
              <Link key="o" to="/p/$projectId/drills/$drillId" params={{ projectId, drillId: model.drill_id }}>
                made by a drill
              </Link>
            ) : model.remedy_id ? (
              'repaired by a remedy'
            ) : (
              'uploaded'
            ),
          ],
          [
            'Export',
            <a key="e" href={address.model(model.id)} download>
              model.safetensors
            </a>,
          ],
        ]}
      />
      {model.warnings.map((warning) => (
        <p key={warning} style={{ marginBottom: 0 }}>
          ◐ {warning}
        </p>
      ))}
    </section>
  )
}

function Confusion({ model, projectId }: { model: ClassifierModel; projectId: string }) {
  const search = useSearch({ from: '/app/p/$projectId/models/$modelId' })
  const navigate = useNavigate({ from: '/p/$projectId/models/$modelId' })
  const confusion = useQuery(q.confusion(model.id))
  const dataset = useQuery(q.dataset(model.dataset_id)).data
  const [chosen, setChosen] = useState<number[]>([])
  const cell =
    search.label !== undefined && search.predicted !== undefined
      ? { label: search.label, predicted: search.predicted }
      : null
  const toggle = (index: number) =>
    setChosen((all) => (all.includes(index) ? all.filter((i) => i !== index) : [...all, index]))
  return (
    <div className="columns" style={{ gridTemplateColumns: 'minmax(0, max-content) minmax(320px, 1fr)' }}>
      <section className="panel">
        <h2>Confusion matrix on the test split</h2>
        <Loaded query={confusion}>
          {(matrix) => (
            <ConfusionTable
              confusion={matrix}
              picked={cell}
              onPick={(label, predicted) => {
                setChosen([])
                void navigate({ search: { label, predicted }, replace: true, resetScroll: false })
              }}
            />
          )}
        </Loaded>
      </section>
      <section className="panel">
        <div className="panel-head">
          <h2>Test images of a cell</h2>
          {cell && (
            <Button
              size="xs"
              disabled={chosen.length === 0}
              onClick={() =>
                void navigate({
                  to: '/p/$projectId/cases/new',
                  params: { projectId },
                  search: { model: model.id, ...cell, test: chosen.join(',') },
                })
              }
            >
              Investigate {chosen.length > 0 ? chosen.length : ''}
            </Button>
          )}
        </div>
        {cell && dataset ? (
          <CellImages
            model={model}
            dataset={dataset}
            cell={cell}
            chosen={chosen}
            onChoose={(prediction) => toggle(prediction.index)}
          />
        ) : (
          <Empty>Choose a cell of the matrix. Its test images appear here; pick those that look suspicious.</Empty>
        )}
      </section>
    </div>
  )
}

function ModelKeeping({ model }: { model: ClassifierModel }) {
  const navigate = useNavigate()
  const queries = useQueryClient()
  const path = { model_id: model.id }
  return (
    <Keeping
      what="model"
      preserved={model.preserved ?? false}
      consequence="Delete the model and its index for good"
      condition="Only a model that no case, sweep, drill or repair is grounded on can be deleted."
      onPreserve={async (preserved) => {
        await body(updateModel({ path, body: { preserved } }))
        await queries.invalidateQueries({ queryKey: ['model'] })
      }}
      onDelete={async () => {
        await body(deleteModel({ path }))
        void queries.invalidateQueries({ queryKey: ['models'] })
        void navigate({ to: '/p/$projectId/models', params: { projectId: model.project_id } })
      }}
    />
  )
}

export function ModelScreen() {
  const { projectId, modelId } = useParams({ from: '/app/p/$projectId/models/$modelId' })
  const query = useQuery({
    ...q.model(modelId),
    refetchInterval: (state) => (state.state.data?.state === 'checking' ? 2000 : false),
  })
  return (
    <div className="page">
      <Loaded query={query}>
        {(model) => (
          <>
            <TitleRow title={model.name} chip={<StateChip state={model.state} />}>
              <CopyMenu path={`/api/v1/models/${modelId}`} />
              {model.state === 'ready' && (
                <Button
                  variant="default"
                  renderRoot={(props) => (
                    <Link to="/p/$projectId/sweeps" params={{ projectId }} search={{ model: modelId }} {...props} />
                  )}
                >
                  Sweep
                </Button>
              )}
              {model.state === 'ready' && (
                <Button
                  renderRoot={(props) => (
                    <Link to="/p/$projectId/cases/new" params={{ projectId }} search={{ model: modelId }} {...props} />
                  )}
                >
                  New case
                </Button>
              )}
            </TitleRow>
            <Stack gap={16}>
              {model.state !== 'ready' && model.job_id && (
                <section className="panel">
                  <JobProgress jobId={model.job_id} />
                </section>
              )}
              <div className="columns" style={{ gridTemplateColumns: 'minmax(0, 1fr) minmax(320px, 1fr)' }}>
                <Card model={model} projectId={projectId} />
                <section className="panel">
                  <h2>Accuracy</h2>
                  <div style={{ display: 'grid', gridTemplateColumns: '1fr 1fr', gap: 16 }}>
                    <Stat
                      name="Test split"
                      value={percent(model.accuracy_test)}
                      note="share of test images predicted as labelled"
                    />
                    <Stat
                      name={
                        <>
                          Training split{' '}
                          <HowObtained what="training accuracy">
                            Share of training images predicted as labelled, on at most 5,000 of them. Far below the test
                            accuracy means that this is not the data set the model was trained on.
                          </HowObtained>
                        </>
                      }
                      value={percent(model.accuracy_train)}
                      note="tells whether the data set belongs to the model"
                    />
                  </div>
                </section>
              </div>
              {model.state === 'ready' && <Confusion model={model} projectId={projectId} />}
              {model.state === 'ready' && <ChecksPanel model={model} classes={model.card?.classes ?? []} />}
              {model.state !== 'checking' && <ModelKeeping model={model} />}
            </Stack>
          </>
        )}
      </Loaded>
    </div>
  )
}
