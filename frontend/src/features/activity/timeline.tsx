// A list of audit events, newest first, in words.
import { Tooltip } from '@mantine/core'
import type { AuditEvent } from '@/client'
import { ago, moment, shortDigest } from '@/lib/format'

export function Timeline({ events, hashes = false }: { events: AuditEvent[]; hashes?: boolean }) {
  if (events.length === 0) return <p className="quiet">Nothing happened yet.</p>
  return (
    <table className="table">
      <thead>
        <tr>
          <th>When</th>
          <th>Who</th>
          <th>What</th>
          <th>Detail</th>
          {hashes && <th>Hash</th>}
        </tr>
      </thead>
      <tbody>
        {events.map((event) => (
          <tr key={event.id}>
            <td style={{ whiteSpace: 'nowrap' }}>
              <Tooltip label={moment(event.at)}>
                <span>{ago(event.at)}</span>
              </Tooltip>
            </td>
            <td>{event.actor}</td>
            <td style={{ whiteSpace: 'nowrap' }}>{event.action.replaceAll(/[._]/g, ' ')}</td>
            <td className="quiet" style={{ fontSize: 12, overflowWrap: 'anywhere' }}>
              {Object.entries(event.detail)
                .filter(([, value]) => value !== null && typeof value !== 'object' && !isId(value))
                .slice(0, 4)
                .map(([key, value]) => `${key.replaceAll('_', ' ')} ${shorten(String(value))}`)
                .join(' · ')}
            </td>
            {hashes && (
              <td className="mono">
                <Tooltip label={event.hash}>
                  <span>{shortDigest(event.hash)}</span>
                </Tooltip>
              </td>
            )}
          </tr>
        ))}
      </tbody>
    </table>
  )
}

/** Ids of rows mean nothing to a reader; the names beside them do. */
const isId = (value: unknown): boolean => typeof value === 'string' && /^[0-9a-f]{32}$/.test(value)

const shorten = (text: string): string => (/^[0-9a-f]{64}$/.test(text) ? `${shortDigest(text)}…` : text)
