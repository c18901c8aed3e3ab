// The review rounds of a case: what is mine to do, how far everybody is, and what the lead does with a round.
import { Button, Group, MultiSelect, Progress, Stack, Text } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { type Case, changeRound, type Member, type Round, reassignRound, signOffRound } from '@/client'
import { Empty, Loaded, ProblemPanel } from '@/components/states'
import { body } from '@/lib/api'
import { count, moment, percent, plural } from '@/lib/format'
import { q } from '@/lib/queries'
import { NewRound } from './new-round'

const states: Record<Round['state'], string> = {
  open: 'open',
  paused: 'paused',
  closed: 'closed',
  signed_off: 'signed off',
}

/** Members who may judge. */
export function judges(members: readonly Member[]): Member[] {
  return members.filter((m) => m.role !== 'viewer' && !m.disabled)
}

export function useRoundsAgain(caseId: string) {
  const queries = useQueryClient()
  return () => {
    void queries.invalidateQueries({ queryKey: ['case', caseId] })
    void queries.invalidateQueries({ queryKey: ['round'] })
  }
}

function Reviewers({ round }: { round: Round }) {
  const withControls = round.n_controls !== null && round.n_controls > 0
  return (
    <table className="table">
      <thead>
        <tr>
          <th>Reviewer</th>
          <th style={{ textAlign: 'right' }}>Judged</th>
          {withControls && <th style={{ textAlign: 'right' }}>Controls called clean</th>}
        </tr>
      </thead>
      <tbody>
        {round.reviewers.map((each) => (
          <tr key={each.user_id}>
            <td>{each.name}</td>
            <td className="number">
              {count(each.n_answered)} of {count(each.n_assigned)}
            </td>
            {withControls && (
              <td className="number">
                {each.n_controls_answered
                  ? `${each.n_controls_right} of ${each.n_controls_answered} (${percent((each.n_controls_right ?? 0) / each.n_controls_answered, 0)})`
                  : 'none judged'}
              </td>
            )}
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function Reassign({ round, members, onDone }: { round: Round; members: Member[]; onDone: () => void }) {
  const [from, setFrom] = useState<string[]>([])
  const [to, setTo] = useState<string[]>([])
  const give = useMutation({
    mutationFn: () => body(reassignRound({ path: { round_id: round.id }, body: { reviewer: from[0] ?? '', to } })),
    onSuccess: () => {
      setFrom([])
      setTo([])
      onDone()
    },
  })
  const unfinished = round.reviewers.filter((r) => r.n_answered < r.n_assigned)
  return (
    <Stack gap={8}>
      <Group align="end" gap={12}>
        <MultiSelect
          label="Give what is left of"
          size="xs"
          w={220}
          maxValues={1}
          data={unfinished.map((r) => ({ value: r.user_id, label: r.name }))}
          value={from}
          onChange={setFrom}
        />
        <MultiSelect
          label="to"
          size="xs"
          w={260}
          data={judges(members)
            .filter((m) => m.user_id !== from[0])
            .map((m) => ({ value: m.user_id, label: m.name }))}
          value={to}
          onChange={setTo}
        />
        <Button
          size="xs"
          variant="default"
          loading={give.isPending}
          disabled={from.length === 0 || to.length === 0}
          onClick={() => give.mutate()}
        >
          Reassign
        </Button>
      </Group>
      {give.error && <ProblemPanel error={give.error} />}
    </Stack>
  )
}

function RoundPanel({
  item,
  round,
  members,
  leads,
  me,
}: {
  item: Case
  round: Round
  members: Member[]
  leads: boolean
  /** Id of who looks, if they may judge. */
  me: string | undefined
}) {
  const again = useRoundsAgain(item.id)
  const change = useMutation({
    mutationFn: (state: 'open' | 'paused' | 'closed') =>
      body(changeRound({ path: { round_id: round.id }, body: { state } })),
    onSuccess: again,
  })
  const sign = useMutation({
    mutationFn: () => body(signOffRound({ path: { round_id: round.id } })),
    onSuccess: again,
  })
  const error = change.error ?? sign.error
  const path = { caseId: item.id, roundId: round.id }
  const running = round.state === 'open' || round.state === 'paused'
  return (
    <section className="panel" aria-label={`Round ${round.name}`}>
      <div className="panel-head">
        <h2>
          {round.name} <span className="quiet">{states[round.state]}</span>
        </h2>
        <Group gap={8}>
          {round.n_mine > 0 && (
            <Link to="/c/$caseId/rounds/$roundId" params={path} className="primary-link">
              Judge {plural(round.n_mine, 'image')}
            </Link>
          )}
          {round.state === 'open' && me !== undefined && !round.reviewers.some((r) => r.user_id === me) && (
            <Link to="/c/$caseId/rounds/$roundId" params={path} search={{ queue: 'second' }}>
              Give second opinions
            </Link>
          )}
          {(round.n_conflicts ?? 0) > 0 && (
            <Link to="/c/$caseId/rounds/$roundId" params={path} search={{ queue: 'conflicts' }}>
              {plural(round.n_conflicts ?? 0, 'conflict')} to decide
            </Link>
          )}
          {leads && (round.n_controls ?? 0) > 0 && (
            <Link to="/c/$caseId/rounds/$roundId" params={path} search={{ queue: 'controls' }}>
              {plural(round.n_controls ?? 0, 'control')}
            </Link>
          )}
        </Group>
      </div>
      <Stack gap={12}>
        <div>
          <Progress value={(100 * round.n_answered) / round.n_images} aria-label={`Judged in ${round.name}`} />
          <Text size="xs" c="dimmed" mt={4}>
            {count(round.n_answered)} of {count(round.n_images)} images judged by{' '}
            {round.reviewers_per_image === 1 ? 'one reviewer' : `${round.reviewers_per_image} reviewers each`}
            {round.blind ? ' · blind' : ''}
            {round.n_controls ? ` · ${plural(round.n_controls, 'control')} among them` : ''}
            {round.adjudicator ? ` · conflicts to ${round.adjudicator}` : ''}
            {round.due_at ? ` · due ${moment(round.due_at)}` : ''}
          </Text>
        </div>
        <Reviewers round={round} />
        {leads && running && round.reviewers.some((r) => r.n_answered < r.n_assigned) && (
          <Reassign round={round} members={members} onDone={again} />
        )}
        {leads && round.state !== 'signed_off' && (
          <Group gap={8}>
            <Button size="xs" loading={sign.isPending} onClick={() => sign.mutate()}>
              Sign off
            </Button>
            {running && (
              <Button
                size="xs"
                variant="default"
                onClick={() => change.mutate(round.state === 'open' ? 'paused' : 'open')}
              >
                {round.state === 'open' ? 'Pause' : 'Go on'}
              </Button>
            )}
            <Button size="xs" variant="default" onClick={() => change.mutate(running ? 'closed' : 'open')}>
              {running ? 'Close' : 'Open again'}
            </Button>
          </Group>
        )}
        {error && <ProblemPanel error={error} />}
      </Stack>
    </section>
  )
}

export function Rounds({ item }: { item: Case }) {
  const rounds = useQuery(q.rounds(item.id))
  const members = useQuery(q.members(item.project_id)).data ?? []
  const session = useQuery(q.session()).data
  const role = useQuery(q.projects()).data?.find((p) => p.id === item.project_id)?.role
  const leads = session?.user.is_administrator === true || role === 'owner' || role === 'analyst'
  const me = judges(members).find((m) => m.user_id === session?.user.id)?.user_id
  const [making, setMaking] = useState(false)
  return (
    <Stack gap={16}>
      {leads && (
        <Group justify="space-between">
          <Text c="dimmed" maw={640}>
            A round asks several people about the same images, independently: blind, with clean controls that nobody
            knows among them.
          </Text>
          {!making && (
            <Button variant="default" onClick={() => setMaking(true)}>
              New round
            </Button>
          )}
        </Group>
      )}
      {making && <NewRound item={item} members={judges(members)} onDone={() => setMaking(false)} />}
      <Loaded query={rounds}>
        {(all) =>
          all.length === 0 && !leads ? (
            <section className="panel">
              <Empty>No round yet.</Empty>
            </section>
          ) : (
            all.map((round) => (
              <RoundPanel key={round.id} item={item} round={round} members={members} leads={leads} me={me} />
            ))
          )
        }
      </Loaded>
    </Stack>
  )
}
