// The map of a case by a method: asked for when it is looked at for the first time; its points are read by who draws them.
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useEffect, useMemo } from 'react'
import { createMap } from '@/client'
import { body, idempotencyKey } from '@/lib/api'
import { decodeColumn } from '@/lib/columns'
import { q } from '@/lib/queries'

export type MapMethod = 'pca' | 'umap'

/** Whether there is such a map; without its points, which are many. */
export function useMapState(caseId: string, method: MapMethod) {
  const queries = useQueryClient()
  const maps = useQuery(q.maps(caseId))
  const found = maps.data?.find((map) => map.method === method)
  const { mutate, isIdle, error, reset } = useMutation({
    mutationFn: (wanted: MapMethod) =>
      body(
        createMap({
          path: { case_id: caseId },
          body: { method: wanted },
          headers: { 'Idempotency-Key': idempotencyKey() },
        }),
      ),
    onSuccess: () => queries.invalidateQueries({ queryKey: ['case', caseId, 'maps'] }),
  })
  const isMissing = maps.data !== undefined && (found === undefined || found.state === 'cancelled')
  useEffect(() => {
    if (isMissing && isIdle) mutate(method)
  }, [isMissing, isIdle, mutate, method])
  // biome-ignore lint/correctness/useExhaustiveDependencies: another method is another request
  useEffect(() => reset(), [method, reset])
  const job = useQuery({
    ...q.job(found?.job_id ?? ''),
    enabled: found?.state === 'running' && found.job_id !== null,
  }).data
  return {
    id: found?.id ?? '',
    isFinished: found?.state === 'finished',
    error: error ?? maps.error,
    failure: found?.state === 'failed' ? found.error : null,
    again: () => mutate(method),
    job,
  }
}

/** Ask for the points of a map that is there while the scores are still on their way. */
export function useMapAhead(caseId: string, method: MapMethod, isShown: boolean): void {
  const maps = useQuery({ ...q.maps(caseId), enabled: isShown })
  const id = maps.data?.find((map) => map.method === method && map.state === 'finished')?.id
  useQuery({ ...q.mapColumns(id ?? ''), enabled: id !== undefined })
}

export function useMap(caseId: string, method: MapMethod) {
  const map = useMapState(caseId, method)
  const columns = useQuery({ ...q.mapColumns(map.id), enabled: map.isFinished })
  const points = useMemo(
    () =>
      columns.data && {
        x: decodeColumn(columns.data.x) as Float32Array,
        y: decodeColumn(columns.data.y) as Float32Array,
        shown: columns.data.shown,
        explained: columns.data.explained,
      },
    [columns.data],
  )
  return { ...map, points, error: map.error ?? columns.error }
}
