// One's own account: the password, and the browsers that are signed in.
import { Button, Group, PasswordInput, Stack, Text } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { endOtherSessions, endSession, setPassword } from '@/client'
import { CopyMenu } from '@/components/copy'
import { Facts, TitleRow } from '@/components/page'
import { Loaded, ProblemPanel } from '@/components/states'
import { body } from '@/lib/api'
import { ago } from '@/lib/format'
import { q } from '@/lib/queries'
import { SettingsTabs } from './tabs'

const ways = { link: 'sign-in link', password: 'password', oidc: 'single sign-on' } as const

/** "Firefox on Linux" of what a browser calls itself; the whole of it where nothing is known. */
export function browserName(agent: string | null): string {
  if (!agent) return 'unknown'
  const browser = /(Firefox|Edg|OPR|Chrome|Safari)\/[\d.]+/.exec(agent)?.[1]
  const system = /(Windows|Android|iPhone|iPad|Mac OS X|Linux)/.exec(agent)?.[1]
  const names: Record<string, string> = { Edg: 'Edge', OPR: 'Opera' }
  return browser && system ? `${names[browser] ?? browser} on ${system.replace('Mac OS X', 'macOS')}` : agent
}

function Password({ has }: { has: boolean }) {
  const queries = useQueryClient()
  const [current, setCurrent] = useState('')
  const [next, setNext] = useState('')
  const change = useMutation({
    mutationFn: () => body(setPassword({ body: { current: current || null, new: next } })),
    onSuccess: () => {
      setCurrent('')
      setNext('')
      void queries.invalidateQueries({ queryKey: ['session'] })
      void queries.invalidateQueries({ queryKey: ['sessions'] })
    },
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    change.mutate()
  }
  return (
    <form className="panel" onSubmit={submit}>
      <h2>{has ? 'Change the password' : 'Set a password'}</h2>
      <Stack gap={12}>
        <Text c="dimmed">
          {has
            ? 'Every other browser is signed out. The current password is not asked for in the hour after you came by a sign-in link.'
            : 'You have none yet, and come in by link or single sign-on only.'}
        </Text>
        <Group align="start" gap={16}>
          {has && (
            <PasswordInput
              label="Current password"
              autoComplete="current-password"
              value={current}
              onChange={(event) => setCurrent(event.currentTarget.value)}
              w={260}
            />
          )}
          <PasswordInput
            label="New password"
            description="Twelve characters or more; several words are easy to keep."
            inputWrapperOrder={['label', 'input', 'description']}
            autoComplete="new-password"
            required
            value={next}
            onChange={(event) => setNext(event.currentTarget.value)}
            w={320}
          />
          <Button type="submit" mt={25} loading={change.isPending} disabled={next.length < 12}>
            {has ? 'Change password' : 'Set password'}
          </Button>
        </Group>
        {change.error && <ProblemPanel error={change.error} />}
        {change.isSuccess && (
          <Text role="status" size="sm">
            The password is set.
          </Text>
        )}
      </Stack>
    </form>
  )
}

export function ProfileScreen() {
  const queries = useQueryClient()
  const session = useQuery(q.session())
  const sessions = useQuery(q.sessions())
  const again = { onSuccess: () => queries.invalidateQueries({ queryKey: ['sessions'] }) }
  const end = useMutation({
    mutationFn: (id: string) => body(endSession({ path: { session_id: id } })),
    ...again,
  })
  const endOthers = useMutation({ mutationFn: () => body(endOtherSessions()), ...again })
  return (
    <div className="page">
      <TitleRow title="Profile" chip={<SettingsTabs />}>
        <CopyMenu path="/api/v1/session" />
      </TitleRow>
      <Loaded query={session}>
        {({ user, has_password }) => (
          <Stack gap={16}>
            <section className="panel">
              <h2>{user.name}</h2>
              <Facts
                items={[
                  ['E-mail', user.email ?? 'none'],
                  ['Rights', user.is_administrator ? 'administrator' : 'by project'],
                ]}
              />
            </section>
            <Password has={has_password} />
            <section className="panel">
              <div className="panel-head">
                <h2>Signed in</h2>
                <Button
                  size="xs"
                  variant="default"
                  loading={endOthers.isPending}
                  disabled={(sessions.data?.length ?? 0) < 2}
                  onClick={() => endOthers.mutate()}
                >
                  Sign out everywhere else
                </Button>
              </div>
              {(end.error ?? endOthers.error) && <ProblemPanel error={end.error ?? endOthers.error} />}
              <Loaded query={sessions}>
                {(all) => (
                  <table className="table">
                    <thead>
                      <tr>
                        <th>Browser</th>
                        <th>By</th>
                        <th>From</th>
                        <th>Since</th>
                        <th>Last used</th>
                        <th>Action</th>
                      </tr>
                    </thead>
                    <tbody>
                      {all.map((each) => (
                        <tr key={each.id}>
                          <td title={each.browser ?? undefined}>{browserName(each.browser)}</td>
                          <td>{ways[each.method]}</td>
                          <td className="mono">{each.address ?? 'unknown'}</td>
                          <td>{ago(each.created_at)}</td>
                          <td>{ago(each.last_seen_at)}</td>
                          <td style={{ textAlign: 'right' }}>
                            {each.is_current ? (
                              <span className="quiet">this browser</span>
                            ) : (
                              <Button
                                size="xs"
                                variant="default"
                                aria-label={`Sign out ${browserName(each.browser)}, ${ago(each.last_seen_at)}`}
                                loading={end.isPending && end.variables === each.id}
                                onClick={() => end.mutate(each.id)}
                              >
                                Sign out
                              </Button>
                            )}
                          </td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                )}
              </Loaded>
            </section>
          </Stack>
        )}
      </Loaded>
    </div>
  )
}
