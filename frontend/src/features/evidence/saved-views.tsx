// Saved views: what the workbench shows, under a name, for any case of the project. A link copies the same thing.
import { Button, Group, Menu, Modal, Stack, Switch, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, memo, useState } from 'react'
import { deleteView, type SavedView, saveView } from '@/client'
import { ProblemPanel } from '@/components/states'
import { body } from '@/lib/api'
import { q } from '@/lib/queries'
import { keptOf, type View } from './view'

export const SavedViews = memo(function SavedViews({
  projectId,
  view,
  open,
}: {
  projectId: string
  view: View
  open: (kept: Record<string, unknown>) => void
}) {
  const views = useQuery(q.views(projectId)).data ?? []
  const [isSaving, setSaving] = useState(false)
  const close = () => setSaving(false)
  return (
    <>
      <Menu position="bottom-end" withinPortal>
        <Menu.Target>
          <Button size="compact-xs" variant="default">
            Views
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          {views.length === 0 && <Menu.Label>Nothing is saved yet</Menu.Label>}
          {views.map((saved) => (
            <One key={saved.id} projectId={projectId} saved={saved} onOpen={() => open(saved.view)} />
          ))}
          <Menu.Divider />
          <Menu.Item onClick={() => setSaving(true)}>Save this view…</Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <Modal opened={isSaving} onClose={close} title="Save this view">
        <Save projectId={projectId} view={view} onDone={close} />
      </Modal>
    </>
  )
})

function One({ projectId, saved, onOpen }: { projectId: string; saved: SavedView; onOpen: () => void }) {
  const queries = useQueryClient()
  const forget = useMutation({
    mutationFn: () => body(deleteView({ path: { view_id: saved.id } })),
    onSettled: () => void queries.invalidateQueries({ queryKey: ['views', projectId] }),
  })
  return (
    <Group gap={0} wrap="nowrap">
      <Menu.Item onClick={onOpen}>
        {saved.name}
        {!saved.is_mine && <span className="quiet"> by {saved.created_by}</span>}
        {saved.is_mine && saved.is_shared && <span className="quiet"> shared</span>}
      </Menu.Item>
      {saved.is_mine && (
        <Menu.Item
          w="auto"
          closeMenuOnClick={false}
          aria-label={`Forget the view ${saved.name}`}
          disabled={forget.isPending}
          onClick={() => forget.mutate()}
        >
          ✕
        </Menu.Item>
      )}
    </Group>
  )
}

function Save({ projectId, view, onDone }: { projectId: string; view: View; onDone: () => void }) {
  const queries = useQueryClient()
  const [name, setName] = useState('')
  const [isShared, setShared] = useState(false)
  const save = useMutation({
    mutationFn: () =>
      body(
        saveView({
          path: { project_id: projectId },
          body: { name: name.trim(), view: keptOf(view), is_shared: isShared },
        }),
      ),
    onSuccess: () => {
      void queries.invalidateQueries({ queryKey: ['views', projectId] })
      onDone()
    },
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    if (name.trim()) save.mutate()
  }
  return (
    <form onSubmit={submit}>
      <Stack gap={12}>
        <TextInput
          label="Name"
          description="Tab, filters, sort, brush, axis and map; not the image in focus, nor a moved threshold."
          data-autofocus
          maxLength={80}
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <Switch
          label="The other members see it too"
          checked={isShared}
          onChange={(event) => setShared(event.currentTarget.checked)}
        />
        {save.error && <ProblemPanel error={save.error} />}
        <Group>
          <Button type="submit" size="xs" loading={save.isPending} disabled={!name.trim()}>
            Save
          </Button>
        </Group>
      </Stack>
    </form>
  )
}
