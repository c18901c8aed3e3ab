// The files that came into a project: how far each is, what they take of the quota, and the way to give one up.
import { Button, Group, Progress, Stack, Text } from '@mantine/core'
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import { useState } from 'react'
import { deleteUpload, type Upload, type UploadStorage } from '@/client'
import { CopyMenu, Digest } from '@/components/copy'
import { type Column, DataTable } from '@/components/data-table'
import { UploadIcon } from '@/components/icons'
import { More } from '@/components/more'
import { TitleRow } from '@/components/page'
import { Empty, Loaded, ProblemPanel } from '@/components/states'
import { StateChip } from '@/components/status'
import { body } from '@/lib/api'
import { ago, bytes, percent } from '@/lib/format'
import { q } from '@/lib/queries'

const purposes: Record<Upload['purpose'], string> = {
  dataset: 'data set',
  model: 'model',
  image: 'affected image',
}

function consequence(upload: Upload): string {
  if (upload.state === 'receiving') return `Give up the ${bytes(upload.offset)} that were sent`
  if (upload.state === 'finished') return 'Delete; what was made of it stays'
  return 'Remove from the list'
}

function DeleteUpload({ upload, onDelete }: { upload: Upload; onDelete: (upload: Upload) => Promise<unknown> }) {
  const [asked, setAsked] = useState(false)
  const remove = useMutation({ mutationFn: () => onDelete(upload) })
  if (!asked) {
    return (
      <Button size="xs" variant="default" aria-label={`Delete ${upload.filename}`} onClick={() => setAsked(true)}>
        Delete
      </Button>
    )
  }
  return (
    <Group gap={8} justify="flex-end" wrap="nowrap">
      <Button size="xs" color="red.9" loading={remove.isPending} onClick={() => remove.mutate()}>
        {consequence(upload)}
      </Button>
      <Button size="xs" variant="default" onClick={() => setAsked(false)}>
        Keep it
      </Button>
      {remove.error && <Text size="xs">{remove.error.message}</Text>}
    </Group>
  )
}

const columns = (onDelete: (upload: Upload) => Promise<unknown>): Column<Upload>[] => [
  { name: 'File', cell: (upload) => <span className="mono">{upload.filename}</span> },
  { name: 'For', cell: (upload) => purposes[upload.purpose] },
  {
    name: 'State',
    cell: (upload) => (
      <>
        <StateChip state={upload.state} />
        {upload.error && <span className="quiet"> {upload.error}</span>}
      </>
    ),
  },
  {
    name: 'Sent',
    numeric: true,
    cell: (upload) =>
      upload.state !== 'receiving' && upload.state !== 'expired'
        ? bytes(upload.size)
        : `${bytes(upload.offset)} of ${bytes(upload.size)} (${percent(upload.offset / upload.size, 0)})`,
  },
  { name: 'SHA-256', cell: (upload) => <Digest value={upload.sha256} /> },
  { name: 'Begun', cell: (upload) => ago(upload.created_at) },
  {
    name: 'Expires',
    cell: (upload) => (upload.state === 'receiving' ? ago(upload.expires_at) : '–'),
  },
  { name: 'Action', numeric: true, cell: (upload) => <DeleteUpload upload={upload} onDelete={onDelete} /> },
]

function StorageBar({ storage }: { storage: UploadStorage }) {
  const used = storage.used_bytes / Math.max(storage.quota_bytes, 1)
  return (
    <Stack gap={8}>
      <Text>
        {bytes(storage.used_bytes)} of {bytes(storage.quota_bytes)} are used; the next file may have{' '}
        {bytes(storage.free_bytes)}.
      </Text>
      <Progress value={100 * used} size="sm" aria-label="Share of the project's quota that is used" />
      <Text size="xs" c="dimmed">
        Counted: the sizes of uploads, those that are not finished yet included. Free is what quota, disk and the
        largest file accepted leave together. A deleted upload frees its share at once; its bytes leave the disk with{' '}
        <code className="mono">orfila gc</code>, unless a data set or model holds them.
      </Text>
    </Stack>
  )
}

export function UploadsScreen() {
  const { projectId } = useParams({ from: '/app/p/$projectId/uploads' })
  const queries = useQueryClient()
  const query = useInfiniteQuery({ ...q.uploads(projectId), refetchInterval: 5000 })
  const storage = useQuery(q.uploadStorage(projectId))
  const onDelete = async (upload: Upload) => {
    await body(deleteUpload({ path: { upload_id: upload.id } }))
    await queries.invalidateQueries({ queryKey: ['uploads', projectId] })
  }
  const params = { projectId }
  return (
    <div className="page">
      <TitleRow title="Uploads">
        <CopyMenu path={`/api/v1/projects/${projectId}/uploads`} />
      </TitleRow>
      <Stack gap={16}>
        <section className="panel" aria-label="Storage">
          {storage.error ? (
            <ProblemPanel error={storage.error} />
          ) : (
            storage.data && <StorageBar storage={storage.data} />
          )}
        </section>
        <section className="panel" aria-label="Uploads">
          <Loaded query={query}>
            {({ items }) =>
              items.length > 0 ? (
                <>
                  <DataTable rows={items} columns={columns(onDelete)} />
                  <More query={query} shown={items.length} />
                </>
              ) : (
                <Empty icon={<UploadIcon />}>
                  Nothing was uploaded yet. Add a{' '}
                  <Link to="/p/$projectId/datasets" params={params}>
                    data set
                  </Link>{' '}
                  or a{' '}
                  <Link to="/p/$projectId/models" params={params}>
                    model
                  </Link>
                  .
                </Empty>
              )
            }
          </Loaded>
        </section>
      </Stack>
    </div>
  )
}
