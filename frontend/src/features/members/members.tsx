// Who belongs to a project, and as what. Owners decide.
import { Button, Group, Select, Stack, Text, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useParams } from '@tanstack/react-router'
import { type FormEvent, useState } from 'react'
import { useProject } from '@/app/project'
import { addMember, changeMember, type Member, removeMember } from '@/client'
import { CopyMenu } from '@/components/copy'
import { TitleRow } from '@/components/page'
import { Loaded, ProblemPanel } from '@/components/states'
import { body } from '@/lib/api'
import { q } from '@/lib/queries'
import { Webhooks } from './webhooks'

type Role = Member['role']

const roles: { value: Role; label: string; may: string }[] = [
  { value: 'owner', label: 'owner', may: 'everything, members too' },
  { value: 'analyst', label: 'analyst', may: 'uploads, cases, repairs, verdicts' },
  { value: 'reviewer', label: 'reviewer', may: 'verdicts' },
  { value: 'viewer', label: 'viewer', may: 'reading' },
]

function useAgain(projectId: string) {
  const queries = useQueryClient()
  return {
    onSuccess: () => {
      void queries.invalidateQueries({ queryKey: ['members', projectId] })
      void queries.invalidateQueries({ queryKey: ['projects'] })
    },
  }
}

function Add({ projectId }: { projectId: string }) {
  const [name, setName] = useState('')
  const [role, setRole] = useState<Role>('reviewer')
  const again = useAgain(projectId)
  const add = useMutation({
    mutationFn: () => body(addMember({ path: { project_id: projectId }, body: { name: name.trim(), role } })),
    onSuccess: () => {
      again.onSuccess()
      setName('')
    },
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    add.mutate()
  }
  return (
    <form className="panel" onSubmit={submit}>
      <h2>Add a person</h2>
      <Stack gap={12}>
        <Group align="end" gap={16}>
          <TextInput
            label="Name of the account"
            required
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            w={260}
          />
          <Select
            label="Role"
            data={roles.map(({ value, label, may }) => ({ value, label: `${label}: ${may}` }))}
            value={role}
            allowDeselect={false}
            onChange={(chosen) => chosen && setRole(chosen as Role)}
            w={280}
          />
          <Button type="submit" loading={add.isPending} disabled={!name.trim()}>
            Add to project
          </Button>
        </Group>
        {add.error && <ProblemPanel error={add.error} />}
      </Stack>
    </form>
  )
}

function Row({ projectId, member, manages }: { projectId: string; member: Member; manages: boolean }) {
  const again = useAgain(projectId)
  const path = { project_id: projectId, user_id: member.user_id }
  const change = useMutation({ mutationFn: (role: Role) => body(changeMember({ path, body: { role } })), ...again })
  const remove = useMutation({ mutationFn: () => body(removeMember({ path })), ...again })
  const error = change.error ?? remove.error
  return (
    <>
      <tr>
        <td>
          {member.name} {member.disabled && <span className="quiet">disabled</span>}
        </td>
        <td>{member.email ?? ''}</td>
        <td>
          {manages ? (
            <Select
              size="xs"
              aria-label={`Role of ${member.name}`}
              data={roles.map(({ value, label }) => ({ value, label }))}
              value={member.role}
              allowDeselect={false}
              onChange={(chosen) => chosen && change.mutate(chosen as Role)}
              w={130}
            />
          ) : (
            member.role
          )}
        </td>
        {manages && (
          <td style={{ textAlign: 'right' }}>
            <Button
              size="xs"
              variant="default"
              loading={remove.isPending}
              aria-label={`Remove ${member.name}`}
              onClick={() => remove.mutate()}
            >
              Remove
            </Button>
          </td>
        )}
      </tr>
      {error && (
        <tr>
          <td colSpan={4}>
            <ProblemPanel error={error} />
          </td>
        </tr>
      )}
    </>
  )
}

export function MembersScreen() {
  const { projectId } = useParams({ from: '/app/p/$projectId/members' })
  const { projects } = useProject()
  const session = useQuery(q.session()).data
  const members = useQuery(q.members(projectId))
  const project = projects.find((p) => p.id === projectId)
  const manages = project?.role === 'owner' || session?.user.is_administrator === true
  return (
    <div className="page">
      <TitleRow title="Members">
        <CopyMenu path={`/api/v1/projects/${projectId}/members`} />
      </TitleRow>
      <Stack gap={16}>
        {manages && <Add projectId={projectId} />}
        <section className="panel">
          <h2>{project?.name ?? 'Project'}</h2>
          {!manages && <Text c="dimmed">Owners of the project decide who belongs to it.</Text>}
          <Loaded query={members}>
            {(all) => (
              <table className="table">
                <thead>
                  <tr>
                    <th>Name</th>
                    <th>E-mail</th>
                    <th>Role</th>
                    {manages && <th>Action</th>}
                  </tr>
                </thead>
                <tbody>
                  {all.map((member) => (
                    <Row key={member.user_id} projectId={projectId} member={member} manages={manages} />
                  ))}
                </tbody>
              </table>
            )}
          </Loaded>
        </section>
        {manages && <Webhooks projectId={projectId} />}
      </Stack>
    </div>
  )
}
