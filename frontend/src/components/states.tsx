// Empty, loading and failed: what a view shows instead of data. Each says what to do.
import { Button, CopyButton, Group, Skeleton, Stack, Text } from '@mantine/core'
import type { UseQueryResult } from '@tanstack/react-query'
import { useRouter } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { toProblem } from '@/lib/api'
import { WarningIcon } from './icons'

export function Empty({ icon, children, action }: { icon?: ReactNode; children: ReactNode; action?: ReactNode }) {
  return (
    <div className="empty">
      {icon && <span className="quiet">{icon}</span>}
      <Text maw={480}>{children}</Text>
      {action}
    </div>
  )
}

export function ProblemPanel({ error, retry }: { error: unknown; retry?: () => void }) {
  const problem = toProblem(error)
  return (
    <div className="panel problem" role="alert">
      <Stack gap={8}>
        <Group gap={8}>
          <WarningIcon />
          <Text fw={600}>{problem.title}</Text>
        </Group>
        <Text>{problem.detail}</Text>
        {problem.fields.map((f) => (
          <Text key={f.field + f.reason} size="xs" className="mono">
            {f.field}: {f.reason}
          </Text>
        ))}
        <Group gap={8}>
          {retry && (
            <Button size="xs" variant="default" onClick={retry}>
              Try again
            </Button>
          )}
          {problem.instance && (
            <CopyButton value={problem.instance}>
              {({ copied, copy }) => (
                <Button size="xs" variant="subtle" onClick={copy}>
                  {copied ? 'Copied' : `Copy id ${problem.instance}`}
                </Button>
              )}
            </CopyButton>
          )}
          <Text size="xs" c="dimmed" className="mono">
            {problem.code}
          </Text>
        </Group>
      </Stack>
    </div>
  )
}

/** Shown by the router when a screen throws. */
export function PageError({ error }: { error: unknown }) {
  const router = useRouter()
  return (
    <div className="page">
      <ProblemPanel error={error} retry={() => void router.invalidate()} />
    </div>
  )
}

export function PageMissing() {
  return (
    <div className="page">
      <Empty action={<a href="/">Go to the inbox</a>}>There is no page at this address.</Empty>
    </div>
  )
}

export function Rows({ n = 6 }: { n?: number }) {
  return (
    <Stack gap={12} role="status" aria-busy="true" aria-label="Loading">
      {Array.from({ length: n }, (_, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: placeholders have no identity
        <Skeleton key={i} height={20} width={`${95 - ((i * 13) % 40)}%`} />
      ))}
    </Stack>
  )
}

/** Data when there are data, else a skeleton or the problem. */
export function Loaded<T>({
  query,
  skeleton,
  children,
}: {
  query: UseQueryResult<T>
  skeleton?: ReactNode
  children: (data: T) => ReactNode
}) {
  if (query.data !== undefined) return children(query.data)
  if (query.error) return <ProblemPanel error={query.error} retry={() => void query.refetch()} />
  return skeleton ?? <Rows />
}
