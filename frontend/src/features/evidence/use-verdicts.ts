// The reviewer's own verdicts on a case: shown at once, posted behind, undone and redone also in bulk.
import { notifications } from '@mantine/notifications'
import { useMutation, useMutationState, useQuery, useQueryClient } from '@tanstack/react-query'
import { useCallback, useMemo, useRef } from 'react'
import { postVerdicts, type Verdict } from '@/client'
import { body, idempotencyKey, toProblem } from '@/lib/api'
import { plural } from '@/lib/format'
import { q } from '@/lib/queries'
import { applyChanges, inverse, type VerdictChange, type VerdictValue } from '@/lib/verdicts'

/** Key of the mutation that saves verdicts. */
export const postingVerdicts = (caseId: string) => ['post-verdicts', caseId]

/** The API takes at most this many verdicts at once. */
const BATCH = 10_000

export function useVerdicts(caseId: string) {
  const queries = useQueryClient()
  const reviewer = useQuery(q.session()).data?.user.name ?? ''
  const key = q.verdicts(caseId).queryKey
  const list = useQuery(q.verdicts(caseId)).data
  // A list that an event lets us fetch while verdicts are on their way lacks them; they stay on the page all the same, or
  // an undo would remember that they were never given.
  const onTheirWay = useMutationState({
    filters: { mutationKey: postingVerdicts(caseId), status: 'pending' },
    select: (mutation) => mutation.state.variables as VerdictChange[],
  })
  const verdicts = useMemo(() => {
    const mine = new Map<number, VerdictValue>()
    for (const verdict of list ?? []) if (verdict.reviewer === reviewer) mine.set(verdict.index, verdict.verdict)
    return applyChanges(mine, onTheirWay.flat())
  }, [list, reviewer, onTheirWay])

  const post = useMutation({
    mutationKey: postingVerdicts(caseId),
    // One after the other: the last verdict on an image must also be the last that the server gets.
    scope: { id: `verdicts-${caseId}` },
    mutationFn: async (items: VerdictChange[]) => {
      for (let from = 0; from < items.length; from += BATCH) {
        await body(
          postVerdicts({
            path: { case_id: caseId },
            body: { items: items.slice(from, from + BATCH) },
            headers: { 'Idempotency-Key': idempotencyKey() },
          }),
        )
      }
    },
    onError: (error) => {
      const problem = toProblem(error)
      notifications.show({ color: 'red', title: 'The verdict was not saved', message: problem.detail })
      void queries.invalidateQueries({ queryKey: key })
    },
    onSettled: () => {
      if (queries.isMutating({ mutationKey: postingVerdicts(caseId) }) > 1) return
      void queries.invalidateQueries({ queryKey: key })
      void queries.invalidateQueries({ queryKey: ['case', caseId, 'review'] })
    },
  })

  const show = useCallback(
    (items: VerdictChange[]) => {
      void queries.cancelQueries({ queryKey: key })
      queries.setQueryData<Verdict[]>(key, (old = []) => {
        const changed = new Map(items.map((item) => [item.index, item.verdict]))
        const kept = old.filter((v) => v.reviewer !== reviewer || !changed.has(v.index))
        const at = new Date().toISOString()
        const added = items.flatMap(({ index, verdict }) =>
          verdict ? [{ index, verdict, reason: null, reviewer, at }] : [],
        )
        return [...kept, ...added]
      })
    },
    [queries, key, reviewer],
  )

  const done = useRef<VerdictChange[][]>([])
  const undone = useRef<VerdictChange[][]>([])
  const { mutate } = post
  const apply = useCallback(
    (items: VerdictChange[]) => {
      show(items)
      mutate(items)
    },
    [show, mutate],
  )
  const judge = useCallback(
    (indices: number[], verdict: VerdictValue | null) => {
      if (indices.length === 0) return
      const items = indices.map((index) => ({ index, verdict }))
      done.current.push(inverse(verdicts, items))
      undone.current = []
      if (items.length > 1) {
        const replaced = indices.filter((i) => verdicts.has(i) && verdicts.get(i) !== verdict).length
        notifications.show({
          message: `${plural(items.length, 'image')} judged${replaced > 0 ? `; ${replaced} of your own verdicts replaced` : ''}. Ctrl+Z undoes it.`,
        })
      }
      apply(items)
    },
    [apply, verdicts],
  )
  const step = useCallback(
    (from: typeof done, to: typeof done) => {
      const items = from.current.pop()
      if (!items) return
      to.current.push(inverse(verdicts, items))
      apply(items)
    },
    [apply, verdicts],
  )
  const undo = useCallback(() => step(done, undone), [step])
  const redo = useCallback(() => step(undone, done), [step])
  return { verdicts, judge, undo, redo }
}
