// What happened, hash-chained: of one case, or of everything; with a button that verifies the chain.
import { Button, Group, Select, Text, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { useParams } from '@tanstack/react-router'
import { useState } from 'react'
import { CopyMenu, Digest } from '@/components/copy'
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

/** Kinds of events: what stands before the point of an action. */
const kinds = [
  'case',
  'comment',
  'comparison',
  'conflict',
  'dataset',
  'drill',
  'job',
  'member',
  'model',
  'project',
  'remedy',
  'round',
  'session',
  'sweep',
  'token',
  'upload',
  'user',
  'verdicts',
  'webhook',
]

function Events({ filter }: { filter: { case_id?: string } }) {
  const [kind, setKind] = useState<string | null>(null)
  const [actor, setActor] = useState('')
  const [typed] = useDebouncedValue(actor.trim(), 300)
  const events = useInfiniteQuery(q.audit({ ...filter, kind: kind ?? undefined, actor: typed || undefined }))
  return (
    <>
      <Group gap={12} mb={12}>
        <Select
          size="xs"
          aria-label="Kind"
          placeholder="Every kind"
          data={kinds}
          value={kind}
          onChange={setKind}
          clearable
          w={160}
        />
        <TextInput
          size="xs"
          aria-label="Person"
          placeholder="Everybody: a whole name"
          value={actor}
          onChange={(event) => setActor(event.currentTarget.value)}
          w={200}
        />
      </Group>
      <Loaded query={events}>
        {({ items }) =>
          items.length === 0 ? (
            <Text c="dimmed">Nothing of this kind, or by this person.</Text>
          ) : (
            <>
              <Timeline events={items} hashes />
              <More query={events} shown={items.length} />
            </>
          )
        }
      </Loaded>
    </>
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
  const administrates = useQuery(q.session()).data?.user.is_administrator
  return (
    <div className="page">
      <TitleRow title="Audit trail" chip={<SettingsTabs />}>
        <CopyMenu path="/api/v1/audit" />
        {administrates && (
          <a href="/api/v1/audit/export.jsonl" download>
            Export
          </a>
        )}
        <VerifyChain />
      </TitleRow>
      <section className="panel">
        <Events filter={{}} />
      </section>
    </div>
  )
}
