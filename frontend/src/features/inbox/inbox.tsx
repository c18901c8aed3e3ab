// Where everybody starts: what waits for review, what runs, what happened.
import { Button, Stack } from '@mantine/core'
import { useInfiniteQuery, useQueries, useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useProject } from '@/app/project'
import type { Case } from '@/client'
import { CopyMenu } from '@/components/copy'
import { CaseIcon } from '@/components/icons'
import { Stat, TitleRow } from '@/components/page'
import { Empty, Loaded, Rows } from '@/components/states'
import { q } from '@/lib/queries'
import { Timeline } from '../activity/timeline'
import { CasesTable } from '../cases/cases-table'
import { JobsTable } from '../jobs/jobs-table'
import { NotificationsPanel } from '../talk/notifications'

function Counts({ cases }: { cases: Case[] }) {
  const number = (...states: Case['state'][]) => cases.filter((c) => states.includes(c.state)).length
  return (
    <section className="panel" style={{ display: 'grid', gridTemplateColumns: 'repeat(5, 1fr)', gap: 16 }}>
      <Stat name="In review" value={number('in_review')} />
      <Stat name="Scoring" value={number('scoring')} />
      <Stat name="Repairing" value={number('repairing')} />
      <Stat name="Verified" value={number('verified')} />
      <Stat name="Regressed or failed" value={number('regressed', 'failed')} />
    </section>
  )
}

export function InboxScreen() {
  const { project, projects } = useProject()
  const lists = useQueries({ queries: projects.map((p) => q.cases(p.id)) })
  const pending = lists.some((l) => l.isPending) || projects.length === 0
  const cases = lists.flatMap((l) => l.data?.items ?? []).filter((c) => c.state !== 'archived')
  const events = useInfiniteQuery(q.audit({}))
  const running = useQuery(q.activeJobs()).data?.items ?? []
  const start = project && (
    <Button renderRoot={(props) => <Link to="/p/$projectId/cases/new" params={{ projectId: project.id }} {...props} />}>
      New case
    </Button>
  )
  return (
    <div className="page">
      <TitleRow title="Inbox">
        <CopyMenu path="/api/v1/projects" />
        {start}
      </TitleRow>
      <Stack gap={16}>
        <Counts cases={cases} />
        <NotificationsPanel />
        <section className="panel">
          <h2>Cases</h2>
          {pending ? (
            <Rows />
          ) : cases.length > 0 ? (
            <CasesTable cases={cases} />
          ) : (
            <Empty icon={<CaseIcon />} action={start}>
              No case yet. Upload a data set and a model, then start from an image that the model gets wrong.
            </Empty>
          )}
        </section>
        {running.length > 0 && (
          <section className="panel">
            <h2>Running jobs</h2>
            <JobsTable jobs={running} />
          </section>
        )}
        <section className="panel">
          <div className="panel-head">
            <h2>Recent activity</h2>
            <Link to="/settings/audit">All</Link>
          </div>
          <Loaded query={events}>{(page) => <Timeline events={page.items.slice(0, 12)} />}</Loaded>
        </section>
      </Stack>
    </div>
  )
}
