// Addresses of other systems that are told of a project's events. For owners.
import { Alert, Button, Group, MultiSelect, Stack, Text, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { changeWebhook, createWebhook, deleteWebhook, pingWebhook, type Webhook, type WebhookCreate } from '@/client'
import { CopyLine } from '@/components/copy'
import { Loaded, ProblemPanel } from '@/components/states'
import { body } from '@/lib/api'
import { ago } from '@/lib/format'
import { q } from '@/lib/queries'

type EventName = NonNullable<WebhookCreate['events']>[number]

const events: EventName[] = [
  'dataset.ready',
  'dataset.failed',
  'model.ready',
  'model.failed',
  'case.opened',
  'case.scored',
  'case.failed',
  'case.refitted',
  'verdicts.recorded',
  'comment.added',
  'conflict.decided',
  'round.opened',
  'round.signed_off',
  'remedy.started',
  'remedy.ended',
]

function Deliveries({ id }: { id: string }) {
  const deliveries = useQuery({ ...q.deliveries(id), refetchInterval: 3000 })
  return (
    <Loaded query={deliveries}>
      {(all) =>
        all.length === 0 ? (
          <Text c="dimmed" size="sm">
            Nothing was sent yet.
          </Text>
        ) : (
          <table className="table">
            <thead>
              <tr>
                <th>Event</th>
                <th>State</th>
                <th style={{ textAlign: 'right' }}>Attempts</th>
                <th>Answer</th>
                <th>When</th>
              </tr>
            </thead>
            <tbody>
              {all.slice(0, 10).map((each) => (
                <tr key={each.id}>
                  <td className="mono">{each.event}</td>
                  <td>{each.state}</td>
                  <td className="number">{each.attempts}</td>
                  <td>{each.error ?? each.status ?? ''}</td>
                  <td>{ago(each.created_at)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )
      }
    </Loaded>
  )
}

function One({ hook, onChanged }: { hook: Webhook; onChanged: () => void }) {
  const queries = useQueryClient()
  const [open, setOpen] = useState(false)
  const path = { webhook_id: hook.id }
  const change = useMutation({
    mutationFn: (active: boolean) => body(changeWebhook({ path, body: { active } })),
    onSuccess: onChanged,
  })
  const remove = useMutation({ mutationFn: () => body(deleteWebhook({ path })), onSuccess: onChanged })
  const ping = useMutation({
    mutationFn: () => body(pingWebhook({ path })),
    onSuccess: () => {
      setOpen(true)
      void queries.invalidateQueries({ queryKey: ['deliveries', hook.id] })
    },
  })
  const error = change.error ?? remove.error ?? ping.error
  return (
    <li style={{ padding: '12px 0' }}>
      <Group gap={12} align="start" wrap="nowrap">
        <div style={{ flex: 1, minWidth: 0 }}>
          <div className="mono" style={{ overflowWrap: 'anywhere' }}>
            {hook.url}
          </div>
          <Text size="xs" c="dimmed">
            {hook.events.join(', ')}
            {!hook.active && ' · stopped'}
          </Text>
        </div>
        <Button size="xs" variant="default" loading={ping.isPending} onClick={() => ping.mutate()}>
          Send a ping
        </Button>
        <Button size="xs" variant="default" aria-expanded={open} onClick={() => setOpen(!open)}>
          Deliveries
        </Button>
        <Button size="xs" variant="default" onClick={() => change.mutate(!hook.active)}>
          {hook.active ? 'Stop' : 'Go on'}
        </Button>
        <Button size="xs" variant="default" loading={remove.isPending} onClick={() => remove.mutate()}>
          Delete
        </Button>
      </Group>
      {error && <ProblemPanel error={error} />}
      {open && <Deliveries id={hook.id} />}
    </li>
  )
}

export function Webhooks({ projectId }: { projectId: string }) {
  const queries = useQueryClient()
  const hooks = useQuery(q.webhooks(projectId))
  const again = () => void queries.invalidateQueries({ queryKey: ['webhooks', projectId] })
  const [url, setUrl] = useState('')
  const [chosen, setChosen] = useState<EventName[]>(['case.scored', 'round.signed_off', 'remedy.ended'])
  const create = useMutation({
    mutationFn: () => body(createWebhook({ path: { project_id: projectId }, body: { url, events: chosen } })),
    onSuccess: () => {
      setUrl('')
      again()
    },
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    create.mutate()
  }
  return (
    <section className="panel" aria-label="Webhooks">
      <h2>Webhooks</h2>
      <Stack gap={12}>
        <Text c="dimmed">
          Other systems are told of the project's events: a signed POST of JSON, tried again for fifteen hours.
        </Text>
        <form onSubmit={submit}>
          <Group align="end" gap={16}>
            <TextInput
              label="Address"
              type="url"
              placeholder="https://"
              required
              value={url}
              onChange={(event) => setUrl(event.currentTarget.value)}
              w={320}
            />
            <MultiSelect
              label="Events"
              data={events}
              value={chosen}
              onChange={(names) => setChosen(names as EventName[])}
              style={{ flex: 1 }}
            />
            <Button type="submit" loading={create.isPending} disabled={!url || chosen.length === 0}>
              Add webhook
            </Button>
          </Group>
        </form>
        {create.error && <ProblemPanel error={create.error} />}
        {create.data && (
          <Alert title="Copy the secret that signs what is sent: it is not shown again" color="accent">
            <CopyLine text={create.data.secret} />
          </Alert>
        )}
        <Loaded query={hooks}>
          {(all) =>
            all.length > 0 && (
              <ul style={{ listStyle: 'none', margin: 0, padding: 0 }}>
                {all.map((hook) => (
                  <One key={hook.id} hook={hook} onChanged={again} />
                ))}
              </ul>
            )
          }
        </Loaded>
      </Stack>
    </section>
  )
}
