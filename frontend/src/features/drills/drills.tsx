// The drills of a project: what was planted, whether it took hold, and how much of it was found.
import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import type { Attack, Drill } from '@/client'
import type { Column } from '@/components/data-table'
import { DrillIcon } from '@/components/icons'
import { ListPage } from '@/components/list-page'
import { StateChip } from '@/components/status'
import { ago, percent, share } from '@/lib/format'
import { q } from '@/lib/queries'

const columns = (projectId: string, attacks: Attack[], nameOf: (datasetId: string) => string): Column<Drill>[] => [
  {
    name: 'Drill',
    cell: (drill) => (
      <Link to="/p/$projectId/drills/$drillId" params={{ projectId, drillId: drill.id }} style={{ fontWeight: 600 }}>
        {drill.name}
      </Link>
    ),
  },
  { name: 'State', cell: (drill) => <StateChip state={drill.state} /> },
  { name: 'Attack', cell: (drill) => attacks.find((a) => a.name === drill.attack)?.title ?? drill.attack },
  { name: 'Planted in', cell: (drill) => nameOf(drill.dataset_id) },
  { name: 'Rate', numeric: true, cell: (drill) => percent(drill.rate) },
  { name: 'PSR', numeric: true, cell: (drill) => percent(drill.outcome?.poison_success_rate) },
  { name: 'Precision', numeric: true, cell: (drill) => share(drill.outcome?.collapse_rule.precision) },
  { name: 'Recall', numeric: true, cell: (drill) => share(drill.outcome?.collapse_rule.recall) },
  { name: 'Started', cell: (drill) => ago(drill.created_at) },
]

export function DrillsScreen() {
  const { projectId } = useParams({ from: '/app/p/$projectId/drills' })
  const query = useQuery(q.drills(projectId))
  const attacks = useQuery(q.attacks()).data ?? []
  const datasets = useQuery(q.datasets(projectId)).data?.items ?? []
  return (
    <ListPage
      title="Drills"
      path={`/api/v1/projects/${projectId}/drills`}
      query={query}
      columns={columns(projectId, attacks, (id) => datasets.find((d) => d.id === id)?.name ?? '–')}
      icon={<DrillIcon />}
      empty="No drill yet. A drill plants a known poison in a copy of a clean data set and measures how much of it is found."
      action={
        <Button renderRoot={(props) => <Link to="/p/$projectId/drills/new" params={{ projectId }} {...props} />}>
          New drill
        </Button>
      }
    />
  )
}
