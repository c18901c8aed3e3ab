// The sweeps of a project: each looks at every class of a model's training data, without an affected image.
import { Button, Group, Select, Text } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { createSweep, type Sweep } from '@/client'
import type { Column } from '@/components/data-table'
import { SweepIcon } from '@/components/icons'
import { ListPage } from '@/components/list-page'
import { ProblemPanel } from '@/components/states'
import { StateChip } from '@/components/status'
import { body, idempotencyKey } from '@/lib/api'
import { ago, count, plural } from '@/lib/format'
import { q } from '@/lib/queries'
import { compact } from '@/lib/search'

const accused = (sweep: Sweep) => sweep.outcome?.classes.filter((c) => c.accused) ?? []

const columns = (projectId: string, nameOf: (modelId: string) => string): Column<Sweep>[] => [
  {
    name: 'Model',
    cell: (sweep) => (
      <Link to="/p/$projectId/sweeps/$sweepId" params={{ projectId, sweepId: sweep.id }} style={{ fontWeight: 600 }}>
        {nameOf(sweep.model_id)}
      </Link>
    ),
  },
  { name: 'State', cell: (sweep) => <StateChip state={sweep.state} /> },
  {
    name: 'Classes',
    numeric: true,
    cell: (sweep) => (sweep.outcome ? count(sweep.outcome.classes.length) : '–'),
  },
  {
    name: 'Found',
    cell: (sweep) => {
      if (!sweep.outcome) return <span className="quiet">–</span>
      const found = accused(sweep).length
      return found > 0 ? `◆ ${plural(found, 'class', 'classes')}` : '● no class'
    },
  },
  {
    name: 'Flagged',
    numeric: true,
    cell: (sweep) => (sweep.outcome ? count(accused(sweep).reduce((n, c) => n + c.n_flagged, 0)) : '–'),
  },
  { name: 'Started', cell: (sweep) => ago(sweep.created_at) },
]

function NewSweep({ projectId }: { projectId: string }) {
  const search = useSearch({ from: '/app/p/$projectId/sweeps' })
  const navigate = useNavigate({ from: '/p/$projectId/sweeps' })
  const queries = useQueryClient()
  const models = useQuery(q.models(projectId)).data?.items.filter((m) => m.state === 'ready') ?? []
  // A model that a repair made is the least likely to be searched.
  const model = models.find((m) => m.id === search.model) ?? models.find((m) => m.remedy_id === null) ?? models[0]
  const start = useMutation({
    mutationFn: (modelId: string) =>
      body(
        createSweep({
          path: { project_id: projectId },
          body: { model_id: modelId },
          headers: { 'Idempotency-Key': idempotencyKey() },
        }),
      ),
    onSuccess: (sweep) => {
      void queries.invalidateQueries({ queryKey: ['sweeps'] })
      void queries.invalidateQueries({ queryKey: ['projects'] })
      void navigate({ to: '/p/$projectId/sweeps/$sweepId', params: { projectId, sweepId: sweep.id } })
    },
  })
  return (
    <section className="panel">
      <h2>Sweep a model</h2>
      <Group align="end" gap={12}>
        <Select
          label="Model"
          description="Every class of its training data is looked at"
          placeholder="No model is ready"
          data={models.map((m) => ({ value: m.id, label: m.name }))}
          value={model?.id ?? null}
          onChange={(id) =>
            void navigate({ search: compact({ model: id ?? undefined }), replace: true, resetScroll: false })
          }
          style={{ flex: 1, maxWidth: 480 }}
        />
        <Button loading={start.isPending} disabled={!model} onClick={() => model && start.mutate(model.id)}>
          Start sweep
        </Button>
      </Group>
      <Text size="xs" c="dimmed" mt={8}>
        Nothing is removed and nobody is accused by it alone: a class that stands out is where a case begins.
      </Text>
      {start.error && <ProblemPanel error={start.error} />}
    </section>
  )
}

export function SweepsScreen() {
  const { projectId } = useParams({ from: '/app/p/$projectId/sweeps' })
  const query = useQuery(q.sweeps(projectId))
  const models = useQuery(q.models(projectId)).data?.items ?? []
  return (
    <ListPage
      title="Sweeps"
      path={`/api/v1/projects/${projectId}/sweeps`}
      query={query}
      columns={columns(projectId, (id) => models.find((m) => m.id === id)?.name ?? 'model')}
      icon={<SweepIcon />}
      empty="No sweep yet. A sweep looks at every class of a model's training data, with no affected image at hand."
    >
      <NewSweep projectId={projectId} />
    </ListPage>
  )
}
