// What happened, hash-chained: of one case, or of everything; with a button that verifies the chain.
import { Button } from '@mantine/core'
import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { useParams } from '@tanstack/react-router'
import { Digest } from '@/components/copy'
import { More } from '@/components/more'
import { TitleRow } from '@/components/page'
import { Loaded, ProblemPanel } from '@/components/states'
import { count } from '@/lib/format'
import { q } from '@/lib/queries'
import { SettingsTabs } from '../settings/tabs'
import { Timeline } from './timeline'

function VerifyChain() {
  const check = useQuery(q.auditCheck())
  const verdict = check.data
  return (
    <div style={{ display: 'flex', gap: 12, alignItems: 'center' }}>
      {check.error && <ProblemPanel error={check.error} />}
      {verdict && (
        <span role="status">
          {verdict.ok
            ? `● Whole: ${count(verdict.n_events)} events, head `
            : `◆ Broken at event ${verdict.first_broken_id}: this or a later event was altered. Head `}
          <Digest value={verdict.head} />
        </span>
      )}
      <Button variant="default" loading={check.isFetching} onClick={() => void check.refetch()}>
        Verify chain
      </Button>
    </div>
  )
}

function Events({ filter }: { filter: { case_id?: string } }) {
  const events = useInfiniteQuery(q.audit(filter))
  return (
    <Loaded query={events}>
      {({ items }) => (
        <>
          <Timeline events={items} hashes />
          <More query={events} shown={items.length} />
        </>
      )}
    </Loaded>
  )
}

export function CaseActivityScreen() {
  const { caseId } = useParams({ from: '/app/c/$caseId' })
  return (
    <section className="panel">
      <div className="panel-head">
        <h2>Activity of this case</h2>
        <VerifyChain />
      </div>
      <Events filter={{ case_id: caseId }} />
    </section>
  )
}

export function AuditScreen() {
  return (
    <div className="page">
      <TitleRow title="Audit trail" chip={<SettingsTabs />}>
        <VerifyChain />
      </TitleRow>
      <section className="panel">
        <Events filter={{}} />
      </section>
    </div>
  )
}
