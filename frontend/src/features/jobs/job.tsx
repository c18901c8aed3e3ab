// One job: progress, its parts and who runs them, the log.
import { Stack } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useParams } from '@tanstack/react-router'
import { CopyMenu } from '@/components/copy'
import { JobProgressView, jobKind, pollWhileActive } from '@/components/job-progress'
import { Facts, TitleRow } from '@/components/page'
import { Loaded } from '@/components/states'
import { StateChip } from '@/components/status'
import { duration, elapsed, moment, percent } from '@/lib/format'
import { q } from '@/lib/queries'

function Log({ jobId, active }: { jobId: string; active: boolean }) {
  const log = useQuery({ ...q.jobLog(jobId), refetchInterval: active ? 2000 : false })
  return (
    <section className="panel">
      <h2>Log</h2>
      <Loaded query={log}>
        {(lines) =>
          lines.length === 0 ? (
            <p className="quiet">No line yet.</p>
          ) : (
            // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
            <pre className="log" tabIndex={0}>
              {lines.map((line) => (
                <span key={line.id} style={line.level === 'error' ? { color: 'var(--poison)' } : undefined}>
                  {line.at.slice(11, 23)} {line.level === 'info' ? '' : `${line.level} `}
                  {line.message}
                  {'\n'}
                </span>
              ))}
            </pre>
          )
        }
      </Loaded>
    </section>
  )
}

export function JobScreen() {
  const { jobId } = useParams({ from: '/app/jobs/$jobId' })
  const query = useQuery({ ...q.job(jobId), refetchInterval: (state) => pollWhileActive(state.state.data) })
  return (
    <div className="page">
      <Loaded query={query}>
        {(job) => (
          <>
            <TitleRow title={`${jobKind[job.kind]}: ${job.subject?.name ?? job.id}`}>
              <CopyMenu path={`/api/v1/jobs/${jobId}`} />
            </TitleRow>
            <div className="columns" style={{ gridTemplateColumns: 'minmax(0, 2fr) minmax(280px, 1fr)' }}>
              <Stack gap={16}>
                <section className="panel">
                  <JobProgressView job={job} />
                </section>
                <Log jobId={jobId} active={pollWhileActive(job) !== false} />
              </Stack>
              <Stack gap={16}>
                <section className="panel">
                  <h2>Times</h2>
                  <Facts
                    items={[
                      ['Created', `${moment(job.created_at)} by ${job.created_by}`],
                      ['Started', job.started_at ? moment(job.started_at) : '–'],
                      ['Finished', job.finished_at ? moment(job.finished_at) : '–'],
                      ['Ran for', job.started_at ? duration(elapsed(job.started_at, job.finished_at)) : '–'],
                      ['Attempts', job.attempts],
                      ['Cost', `${duration(job.compute_seconds)} of workers, lost and failed attempts included`],
                      [
                        'Leases lost',
                        job.leases_lost === 0
                          ? 'none'
                          : `${job.leases_lost}: a worker fell silent, and another took its part up`,
                      ],
                    ]}
                  />
                </section>
                <section className="panel">
                  <h2>Parts</h2>
                  <table className="table">
                    <thead>
                      <tr>
                        <th>Part</th>
                        <th>State</th>
                        <th style={{ textAlign: 'right' }}>Progress</th>
                        <th style={{ textAlign: 'right' }}>Attempts</th>
                      </tr>
                    </thead>
                    <tbody>
                      {job.shards.map((shard) => (
                        <tr key={shard.id} title={shard.worker ?? undefined}>
                          <td>
                            {shard.stage + 1}.{shard.number + 1}
                          </td>
                          <td>{shard.state === 'blocked' ? 'Blocked' : <StateChip state={shard.state} />}</td>
                          <td className="number">{percent(shard.progress, 0)}</td>
                          <td className="number">{shard.attempts}</td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </section>
              </Stack>
            </div>
          </>
        )}
      </Loaded>
    </div>
  )
}
