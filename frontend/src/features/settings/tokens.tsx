// API tokens: make one (its secret is shown once), see when it was used, revoke it.
import { Alert, Button, Checkbox, Group, NumberInput, Stack, Text, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { createToken, revokeToken, type TokenCreate } from '@/client'
import { CopyMenu } from '@/components/copy'
import { TitleRow } from '@/components/page'
import { Loaded, ProblemPanel } from '@/components/states'
import { body } from '@/lib/api'
import { ago, moment } from '@/lib/format'
import { q } from '@/lib/queries'
import { SettingsTabs } from './tabs'

const scopes = ['read', 'write', 'admin'] as const

function NewToken() {
  const queries = useQueryClient()
  const [form, setForm] = useState<TokenCreate & { scopes: (typeof scopes)[number][]; expires_in_days: number }>({
    name: '',
    scopes: ['read', 'write'],
    expires_in_days: 90,
  })
  const create = useMutation({
    mutationFn: () => body(createToken({ body: form })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ['tokens'] }),
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    create.mutate()
  }
  return (
    <form className="panel" onSubmit={submit}>
      <h2>New token</h2>
      <Stack gap={12}>
        <Group align="end" gap={16}>
          <TextInput
            label="Name"
            placeholder="e.g. nightly checks"
            required
            value={form.name}
            onChange={(event) => setForm({ ...form, name: event.currentTarget.value })}
            style={{ flex: 1 }}
          />
          <NumberInput
            label="Valid for (days)"
            min={1}
            max={365}
            value={form.expires_in_days}
            onChange={(days) => setForm({ ...form, expires_in_days: Number(days) })}
          />
          <Checkbox.Group
            label="Scopes"
            value={form.scopes}
            onChange={(chosen) => setForm({ ...form, scopes: chosen as typeof form.scopes })}
          >
            <Group gap={12} h={36}>
              {scopes.map((scope) => (
                <Checkbox key={scope} value={scope} label={scope} />
              ))}
            </Group>
          </Checkbox.Group>
          <Button type="submit" loading={create.isPending} disabled={!form.name || form.scopes.length === 0}>
            Create token
          </Button>
        </Group>
        {create.error && <ProblemPanel error={create.error} />}
        {create.data && (
          <Alert title="Copy the secret now: it is not shown again" color="accent">
            <code className="mono">{create.data.secret}</code>
          </Alert>
        )}
      </Stack>
    </form>
  )
}

export function TokensScreen() {
  const queries = useQueryClient()
  const tokens = useQuery(q.tokens())
  const revoke = useMutation({
    mutationFn: (id: string) => body(revokeToken({ path: { token_id: id } })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ['tokens'] }),
  })
  return (
    <div className="page">
      <TitleRow title="API tokens" chip={<SettingsTabs />}>
        <CopyMenu path="/api/v1/tokens" />
      </TitleRow>
      <Stack gap={16}>
        <NewToken />
        <section className="panel">
          <h2>Tokens</h2>
          {revoke.error && <ProblemPanel error={revoke.error} />}
          <Loaded query={tokens}>
            {(all) =>
              all.length === 0 ? (
                <Text c="dimmed">No token yet. Scripts and CI sign in with a token instead of a link.</Text>
              ) : (
                <table className="table">
                  <thead>
                    <tr>
                      <th>Name</th>
                      <th>Scopes</th>
                      <th>Created</th>
                      <th>Last used</th>
                      <th>Expires</th>
                      <th>Action</th>
                    </tr>
                  </thead>
                  <tbody>
                    {all.map((token) => (
                      <tr key={token.id}>
                        <td>{token.name}</td>
                        <td>{token.scopes.join(', ')}</td>
                        <td>{ago(token.created_at)}</td>
                        <td>{token.last_used_at ? ago(token.last_used_at) : 'never'}</td>
                        <td>{moment(token.expires_at)}</td>
                        <td style={{ textAlign: 'right' }}>
                          <Button
                            size="xs"
                            variant="default"
                            aria-label={`Revoke ${token.name}`}
                            loading={revoke.isPending && revoke.variables === token.id}
                            onClick={() => revoke.mutate(token.id)}
                          >
                            Revoke
                          </Button>
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              )
            }
          </Loaded>
        </section>
      </Stack>
    </div>
  )
}
