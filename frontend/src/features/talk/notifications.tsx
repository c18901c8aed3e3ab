// What one should know of: mentions, and images to judge.
import { Button, Text } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { markNotificationsRead } from '@/client'
import { Loaded } from '@/components/states'
import { body } from '@/lib/api'
import { ago } from '@/lib/format'
import { q } from '@/lib/queries'

export function useUnread(): number {
  return useQuery(q.notifications()).data?.n_unread ?? 0
}

export function NotificationsPanel() {
  const queries = useQueryClient()
  const notifications = useQuery(q.notifications())
  const read = useMutation({
    mutationFn: (upTo: number) => body(markNotificationsRead({ body: { up_to: upTo } })),
    onSuccess: (now) => queries.setQueryData(q.notifications().queryKey, now),
  })
  return (
    <section className="panel" aria-label="For you">
      <Loaded query={notifications}>
        {({ items, n_unread }) => (
          <>
            <div className="panel-head">
              <h2>
                For you <span className="quiet">{n_unread > 0 ? `${n_unread} new` : ''}</span>
              </h2>
              {n_unread > 0 && (
                <Button size="xs" variant="default" onClick={() => read.mutate(items[0].id)}>
                  Mark all as read
                </Button>
              )}
            </div>
            {items.length === 0 ? (
              <Text c="dimmed">Nobody has mentioned you, and no round waits for you.</Text>
            ) : (
              <table className="table">
                <thead>
                  <tr>
                    <th>What</th>
                    <th>From</th>
                    <th>When</th>
                  </tr>
                </thead>
                <tbody>
                  {items.slice(0, 10).map((item) => (
                    <tr key={item.id}>
                      <td style={{ fontWeight: item.read ? undefined : 600 }}>
                        <a href={item.path} onClick={() => !item.read && read.mutate(item.id)}>
                          {item.text}
                        </a>
                      </td>
                      <td>{item.actor}</td>
                      <td>{ago(item.at)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            )}
            {items.length > 10 && (
              <Text size="xs" c="dimmed" mt={8}>
                10 of {items.length} shown.
              </Text>
            )}
          </>
        )}
      </Loaded>
    </section>
  )
}
