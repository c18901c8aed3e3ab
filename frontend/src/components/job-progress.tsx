// A job as it runs: phase, progress, time left, cancel; when it failed, the sentence and a way to try again.
import { Button, Group, Progress, Stack, Text } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { cancelJob, type Job, retryJob } from '@/client'
import { body } from '@/lib/api'
import { duration, percent } from '@/lib/format'
import { q } from '@/lib/queries'
import { ProblemPanel } from './states'
import { StateChip } from './status'

export const isActive = (job: Pick<Job, 'state'>): boolean =>
  job.state === 'waiting' || job.state === 'queued' || job.state === 'running' || job.state === 'cancelling'

/** While a job is active its page asks now and then too, should an event get lost. */
export const pollWhileActive = (job: Job | undefined): number | false => (job && isActive(job) ? 2000 : false)

export function JobProgress({ jobId, title }: { jobId: string; title?: string }) {
  const query = useQuery({ ...q.job(jobId), refetchInterval: (state) => pollWhileActive(state.state.data) })
  if (query.error) return <ProblemPanel error={query.error} />
  if (!query.data) return <Progress value={0} aria-label="Loading" />
  return (
    <Stack gap={16}>
      {/* A waiting job says nothing by itself: what it waits for does. */}
      {query.data.state === 'waiting' && query.data.depends_on.map((id) => <JobProgress key={id} jobId={id} />)}
      <JobProgressView job={query.data} title={title} />
    </Stack>
  )
}

export function JobActions({ job }: { job: Job }) {
  const queries = useQueryClient()
  const done = () => {
    void queries.invalidateQueries({ queryKey: ['job', job.id] })
    void queries.invalidateQueries({ queryKey: ['jobs'] })
  }
  const cancel = useMutation({ mutationFn: () => body(cancelJob({ path: { job_id: job.id } })), onSuccess: done })
  const retry = useMutation({ mutationFn: () => body(retryJob({ path: { job_id: job.id } })), onSuccess: done })
  if (isActive(job)) {
    return (
      <Button
        size="xs"
        variant="default"
        loading={cancel.isPending}
        disabled={job.state === 'cancelling'}
        onClick={() => cancel.mutate()}
      >
        Cancel
      </Button>
    )
  }
  if (job.state === 'failed' || job.state === 'cancelled') {
    return (
      <Button size="xs" variant="default" loading={retry.isPending} onClick={() => retry.mutate()}>
        Try again
      </Button>
    )
  }
  return null
}

export function JobProgressView({ job, title }: { job: Job; title?: string }) {
  const left = job.seconds_left === null ? '' : ` · about ${duration(job.seconds_left)} left`
  const where =
    job.state === 'queued' && job.queue_position !== null ? `${job.queue_position} in the queue` : job.phase || '…'
  return (
    <Stack gap={8} aria-live="polite">
      <Group gap={8} wrap="nowrap">
        <Text fw={600}>{title ?? jobKind[job.kind]}</Text>
        <StateChip state={job.state} />
        <Text size="xs" c="dimmed" style={{ flex: 1 }}>
          {isActive(job) ? `${where}${left}` : ''}
        </Text>
        <Link to="/jobs/$jobId" params={{ jobId: job.id }} style={{ fontSize: 12 }}>
          Log
        </Link>
        <JobActions job={job} />
      </Group>
      {isActive(job) && (
        <Group gap={8} wrap="nowrap">
          <Progress
            value={100 * job.progress}
            aria-label={`${jobKind[job.kind]} progress`}
            size="sm"
            style={{ flex: 1 }}
          />
          <span className="mono quiet">{percent(job.progress, 0)}</span>
        </Group>
      )}
      {job.error && <Text>{job.error}</Text>}
    </Stack>
  )
}

export const jobKind: Record<Job['kind'], string> = {
  ingest: 'Read data set',
  conversion: 'Convert PyTorch file',
  model_check: 'Check model',
  index: 'Build fingerprint index',
  investigate: 'Investigate',
  early_look: 'Early look',
  refit: 'Learn from verdicts',
  remedy: 'Repair and verify',
  drill: 'Drill',
  sweep: 'Sweep',
  compare: 'Compare detectors',
  check: 'Check against closed cases',
  map: 'Draw the map of fingerprints',
}
