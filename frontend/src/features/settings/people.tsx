// The accounts of this installation, for administrators: invite, let back in, disable.
import { Alert, Button, Checkbox, Group, Stack, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { type Account, changeUser, createSignInLink, inviteUser, type SignInLink, type UserChange } from '@/client'
import { CopyLine, CopyMenu } from '@/components/copy'
import { TitleRow } from '@/components/page'
import { Loaded, ProblemPanel } from '@/components/states'
import { body } from '@/lib/api'
import { ago } from '@/lib/format'
import { q } from '@/lib/queries'
import { SettingsTabs } from './tabs'

function Link({ made }: { made: SignInLink }) {
  return (
    <Alert title={`Give this link to ${made.user.name}: it works once, within a day`} color="accent">
      <CopyLine text={made.link} />
    </Alert>
  )
}

function Invite({ onMade }: { onMade: (made: SignInLink) => void }) {
  const [name, setName] = useState('')
  const [email, setEmail] = useState('')
  const [isAdministrator, setIsAdministrator] = useState(false)
  const invite = useMutation({
    mutationFn: () => body(inviteUser({ body: { name, email: email || null, is_administrator: isAdministrator } })),
    onSuccess: (made) => {
      onMade(made)
      setName('')
      setEmail('')
      setIsAdministrator(false)
    },
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    invite.mutate()
  }
  return (
    <form className="panel" onSubmit={submit}>
      <h2>Invite a person</h2>
      <Stack gap={12}>
        <Group align="end" gap={16}>
          <TextInput
            label="Name"
            required
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            w={220}
          />
          <TextInput
            label="E-mail"
            type="email"
            value={email}
            onChange={(event) => setEmail(event.currentTarget.value)}
            w={260}
          />
          <Checkbox
            label="administrator"
            checked={isAdministrator}
            onChange={(event) => setIsAdministrator(event.currentTarget.checked)}
            h={28}
          />
          <Button type="submit" loading={invite.isPending} disabled={!name.trim()}>
            Make invitation
          </Button>
        </Group>
        {invite.error && <ProblemPanel error={invite.error} />}
      </Stack>
    </form>
  )
}

function Row({ account, onMade }: { account: Account; onMade: (made: SignInLink) => void }) {
  const queries = useQueryClient()
  const again = () => queries.invalidateQueries({ queryKey: ['users'] })
  const change = useMutation({
    mutationFn: (changed: UserChange) => body(changeUser({ path: { user_id: account.id }, body: changed })),
    onSuccess: again,
  })
  const link = useMutation({
    mutationFn: () => body(createSignInLink({ path: { user_id: account.id } })),
    onSuccess: onMade,
  })
  const error = change.error ?? link.error
  return (
    <>
      <tr>
        <td>
          {account.name} {account.disabled && <span className="quiet">disabled</span>}
        </td>
        <td>{account.email ?? ''}</td>
        <td>{account.is_administrator ? 'administrator' : 'by project'}</td>
        <td>{account.has_password ? 'yes' : 'no'}</td>
        <td>{account.last_seen_at ? ago(account.last_seen_at) : 'not signed in'}</td>
        <td>
          <Group gap={8} justify="end" wrap="nowrap">
            <Button
              size="xs"
              variant="default"
              disabled={account.disabled}
              loading={link.isPending}
              aria-label={`Sign-in link for ${account.name}`}
              onClick={() => link.mutate()}
            >
              Sign-in link
            </Button>
            <Button
              size="xs"
              variant="default"
              aria-label={`${account.is_administrator ? 'Take administration' : 'Make administrator'}: ${account.name}`}
              onClick={() => change.mutate({ is_administrator: !account.is_administrator })}
            >
              {account.is_administrator ? 'Take administration' : 'Make administrator'}
            </Button>
            <Button
              size="xs"
              variant="default"
              aria-label={`${account.disabled ? 'Enable' : 'Disable'} ${account.name}`}
              onClick={() => change.mutate({ disabled: !account.disabled })}
            >
              {account.disabled ? 'Enable' : 'Disable'}
            </Button>
          </Group>
        </td>
      </tr>
      {error && (
        <tr>
          <td colSpan={6}>
            <ProblemPanel error={error} />
          </td>
        </tr>
      )}
    </>
  )
}

export function PeopleScreen() {
  const queries = useQueryClient()
  const users = useQuery(q.users())
  const [made, setMade] = useState<SignInLink | null>(null)
  const onMade = (link: SignInLink) => {
    setMade(link)
    void queries.invalidateQueries({ queryKey: ['users'] })
  }
  return (
    <div className="page">
      <TitleRow title="People" chip={<SettingsTabs />}>
        <CopyMenu path="/api/v1/users" />
      </TitleRow>
      <Loaded query={users}>
        {(all) => (
          <Stack gap={16}>
            <Invite onMade={onMade} />
            {made && <Link made={made} />}
            <section className="panel">
              <h2>Accounts</h2>
              <table className="table">
                <thead>
                  <tr>
                    <th>Name</th>
                    <th>E-mail</th>
                    <th>Rights</th>
                    <th>Password</th>
                    <th>Last seen</th>
                    <th>Action</th>
                  </tr>
                </thead>
                <tbody>
                  {all.map((account) => (
                    <Row key={account.id} account={account} onMade={onMade} />
                  ))}
                </tbody>
              </table>
            </section>
          </Stack>
        )}
      </Loaded>
    </div>
  )
}
