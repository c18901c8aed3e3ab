// Live updates: one EventSource for the page. The browser reconnects with Last-Event-ID, the server replays what was missed.
import type { QueryClient } from '@tanstack/react-query'
import { useQueryClient } from '@tanstack/react-query'
import { useEffect } from 'react'
import type { Job } from '@/client'

interface EventData {
  kind?: string
  id?: string
  project_id?: string
  case_id?: string
  state?: Job['state']
  progress?: number
  phase?: string
}

const topics = [
  'dataset',
  'model',
  'case',
  'verdicts',
  'round',
  'comment',
  'notification',
  'presence',
  'remedy',
  'drill',
  'sweep',
  'comparison',
  'map',
  'check',
  'job',
  'upload',
] as const
type Topic = (typeof topics)[number]

/** Which cached answers an event makes old. Progress of a job goes straight into the cache. */
export function applyEvent(queries: QueryClient, topic: Topic, data: EventData): void {
  const stale = (...key: unknown[]) => void queries.invalidateQueries({ queryKey: key })
  switch (topic) {
    case 'job': {
      const patch = <T extends Job>(job: T | undefined): T | undefined =>
        job && job.id === data.id
          ? {
              ...job,
              state: data.state ?? job.state,
              progress: data.progress ?? job.progress,
              phase: data.phase ?? job.phase,
            }
          : job
      if (data.id) queries.setQueryData<Job>(['job', data.id], patch)
      stale('job', data.id)
      stale('jobs')
      break
    }
    case 'dataset':
      stale('datasets')
      stale('dataset', data.id)
      stale('projects')
      break
    case 'model':
      stale('models')
      stale('model', data.id)
      stale('projects')
      break
    case 'case':
      stale('cases')
      stale('case', data.id)
      stale('audit')
      break
    case 'verdicts': {
      const caseId = data.case_id ?? data.id
      stale('case', caseId, 'verdicts')
      stale('case', caseId, 'review')
      stale('case', caseId, 'agreement')
      stale('case', caseId, 'comparisons')
      stale('case', caseId, 'rounds')
      stale('case', caseId, 'resolutions')
      stale('round')
      break
    }
    case 'round':
      stale('case', data.case_id)
      stale('round')
      break
    case 'comment':
      stale('case', data.case_id, 'comments')
      break
    case 'presence':
      stale('presence', data.case_id)
      break
    case 'notification':
      stale('notifications')
      break
    case 'remedy':
      stale('case', data.case_id)
      stale('remedy', data.id)
      stale('cases')
      break
    case 'drill':
    case 'sweep':
      stale(`${topic}s`)
      stale(topic, data.id)
      stale('projects')
      break
    case 'check':
      stale('model')
      stale('cases')
      break
    case 'map':
      stale('case', data.case_id, 'maps')
      break
    case 'comparison':
      stale('case', data.case_id, 'comparisons')
      break
    case 'upload':
      stale('uploads')
      break
  }
}

/** Verdicts of colleagues come fast; what hangs on them is asked for at once, and then at most this often. */
const VERDICTS_MS = 300

/** `handle` for one event of each key at once, and for the last of those that follow within `pause` ms after it. */
export function atMostEvery<T>(pause: number, keyOf: (event: T) => string, handle: (event: T) => void) {
  const waiting = new Map<string, T | null>()
  const rest = (key: string) =>
    setTimeout(() => {
      const last = waiting.get(key) ?? null
      waiting.delete(key)
      if (last !== null) pass(last)
    }, pause)
  const pass = (event: T): void => {
    const key = keyOf(event)
    if (waiting.has(key)) {
      waiting.set(key, event)
      return
    }
    waiting.set(key, null)
    rest(key)
    handle(event)
  }
  return pass
}

export function useLiveEvents(): void {
  const queries = useQueryClient()
  useEffect(() => {
    const source = new EventSource('/api/v1/events')
    let opened = false
    source.onopen = () => {
      // After a lost connection something may have been missed that the server no longer replays.
      if (opened) void queries.invalidateQueries()
      opened = true
    }
    const applyVerdicts = atMostEvery<EventData>(
      VERDICTS_MS,
      (data) => data.case_id ?? '',
      (data) => applyEvent(queries, 'verdicts', data),
    )
    for (const topic of topics) {
      source.addEventListener(topic, (event) => {
        const data = JSON.parse((event as MessageEvent<string>).data) as EventData
        if (topic === 'verdicts') applyVerdicts(data)
        else applyEvent(queries, topic, data)
      })
    }
    return () => source.close()
  }, [queries])
}
