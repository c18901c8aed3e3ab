// The end of a list that comes in pages: how many are shown, and a button for the next ones.
import { Button, Group, Text } from '@mantine/core'
import type { UseInfiniteQueryResult } from '@tanstack/react-query'
import { count } from '@/lib/format'

export function More({ query, shown }: { query: UseInfiniteQueryResult<unknown>; shown: number }) {
  if (!query.hasNextPage) return null
  return (
    <Group gap={12} mt={12}>
      <Button size="xs" variant="default" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
        Show more
      </Button>
      <Text size="xs" c="dimmed">
        the newest {count(shown)} are shown
      </Text>
    </Group>
  )
}
