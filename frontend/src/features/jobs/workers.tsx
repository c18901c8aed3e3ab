// The worker processes that are there, what they serve and what they run.
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { type Column, DataTable } from '@/components/data-table'
import { Loaded } from '@/components/states'
import { duration } from '@/lib/format'
import { q } from '@/lib/queries'

const columns: Column<{ id: string; queues: string[]; device: string; seconds_up: number; job_id: string | null }>[] = [
  { name: 'Worker', cell: (worker) => <span className="mono">{worker.id}</span> },
  { name: 'Queues', cell: (worker) => worker.queues.join(', ') },
  { name: 'Device', cell: (worker) => <span className="mono">{worker.device}</span> },
  { name: 'Up for', numeric: true, cell: (worker) => duration(worker.seconds_up) },
  {
    name: 'Runs',
    cell: (worker) =>
      worker.job_id ? (
        <Link to="/jobs/$jobId" params={{ jobId: worker.job_id }}>
          a job
        </Link>
      ) : (
        <span className="quiet">nothing of yours</span>
      ),
  },
]

export function Workers() {
  const query = useQuery({ ...q.workers(), refetchInterval: 5000 })
  return (
    <section className="panel" aria-label="Workers">
      <h2>Workers</h2>
      <Loaded query={query}>
        {(workers) =>
          workers.length > 0 ? (
            <DataTable rows={workers.map((worker) => ({ ...worker, id: worker.name }))} columns={columns} />
          ) : (
            <p style={{ margin: 0 }}>
              No worker was heard of in the last seconds, so jobs wait. Start one with{' '}
              <code className="mono">orfila worker</code>.
            </p>
          )
        }
      </Loaded>
    </section>
  )
}
