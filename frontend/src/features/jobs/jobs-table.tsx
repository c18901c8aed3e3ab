// Jobs as rows: what, about what, how far.
import { Progress } from '@mantine/core'
import { Link } from '@tanstack/react-router'
import type { Job } from '@/client'
import { isActive, JobActions, jobKind } from '@/components/job-progress'
import { StateChip } from '@/components/status'
import { ago, duration, elapsed, percent } from '@/lib/format'

export function JobsTable({ jobs }: { jobs: Job[] }) {
  return (
    <table className="table">
      <thead>
        <tr>
          <th>Job</th>
          <th>About</th>
          <th>State</th>
          <th style={{ width: '28%' }}>Progress</th>
          <th style={{ textAlign: 'right' }}>Time</th>
          <th>Started</th>
          <th>Action</th>
        </tr>
      </thead>
      <tbody>
        {jobs.map((job) => (
          <tr key={job.id}>
            <td>
              <Link to="/jobs/$jobId" params={{ jobId: job.id }}>
                {jobKind[job.kind]}
              </Link>
            </td>
            <td>{job.subject?.name ?? '–'}</td>
            <td>
              <StateChip state={job.state} />
            </td>
            <td>
              {isActive(job) ? (
                <div>
                  <Progress size="sm" value={100 * job.progress} aria-label={`${jobKind[job.kind]} progress`} />
                  <span className="quiet" style={{ fontSize: 12 }}>
                    {percent(job.progress, 0)} {job.phase}
                  </span>
                </div>
              ) : (
                <span className="quiet" style={{ fontSize: 12 }}>
                  {job.error ?? ''}
                </span>
              )}
            </td>
            <td className="number">{job.started_at ? duration(elapsed(job.started_at, job.finished_at)) : '–'}</td>
            <td style={{ whiteSpace: 'nowrap' }}>{ago(job.created_at)}</td>
            <td style={{ textAlign: 'right' }}>
              <JobActions job={job} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}
