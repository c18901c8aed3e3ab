// The reviewer's own verdicts on a case: shown at once, posted behind, undone and redone also in bulk. What is undone, the
// server remembers: also after a reload, and in another browser.
import { useDebouncedCallback } from '@mantine/hooks'
import { notifications } from '@mantine/notifications'
import { useMutation, useMutationState, useQuery, useQueryClient } from '@tanstack/react-query'
import { useCallback, useMemo, useRef } from 'react'
import { postVerdicts, redoVerdicts, undoVerdicts, type Verdict } from '@/client'
import { body, idempotencyKey, toProblem } from '@/lib/api'
import { plural } from '@/lib/format'
import { q } from '@/lib/queries'
import { applyChanges, inverse, isSame, type VerdictChange, type VerdictValue } from '@/lib/verdicts'

/** Key of the mutation that saves verdicts. */
export const postingVerdicts = (caseId: string) => ['post-verdicts', caseId]

/** The API takes at most this many verdicts at once. */
const BATCH = 10_000
/** Quiet time after the last answer before the list is fetched again. */
const REST_MS = 300

/** What is on its way to the server. A `restore` takes back, or gives again, that many requests. */
interface Posting {
  items: VerdictChange[]
  restore?: 'undo' | 'redo'
  requests: number
}

export function useVerdicts(caseId: string) {
  const queries = useQueryClient()
  const reviewer = useQuery(q.session()).data?.user.name ?? ''
  const key = useMemo(() => q.verdicts(caseId).queryKey, [caseId])
  const list = useQuery(q.verdicts(caseId)).data
  // A list that an event lets us fetch while verdicts are on their way lacks them; they stay on the page all the same, or
  // an undo would remember that they were never given.
  const onTheirWay = useMutationState({
    filters: { mutationKey: postingVerdicts(caseId), status: 'pending' },
    select: (mutation) => (mutation.state.variables as Posting).items,
  })
  const known = useRef<ReadonlyMap<number, VerdictValue>>(new Map())
  const verdicts = useMemo(() => {
    const mine = new Map<number, VerdictValue>()
    for (const verdict of list ?? []) if (verdict.reviewer === reviewer) mine.set(verdict.index, verdict.verdict)
    const found = applyChanges(mine, onTheirWay.flat())
    // A verdict passes here four times (shown, on its way, saved, fetched again); only the first says something new.
    if (!isSame(known.current, found)) known.current = found
    return known.current
  }, [list, reviewer, onTheirWay])

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

  // The whole list once more when the keys rest, not after each of them.
  const askAgain = useDebouncedCallback(() => {
    if (queries.isMutating({ mutationKey: postingVerdicts(caseId) }) > 0) return
    void queries.invalidateQueries({ queryKey: key })
    void queries.invalidateQueries({ queryKey: ['case', caseId, 'review'] })
  }, REST_MS)
  const post = useMutation({
    mutationKey: postingVerdicts(caseId),
    // One after the other: the last verdict on an image must also be the last that the server gets.
    scope: { id: `verdicts-${caseId}` },
    mutationFn: async ({ items, restore, requests }: Posting) => {
      const path = { case_id: caseId }
      for (let number = 0; number < requests; number++) {
        const headers = { 'Idempotency-Key': idempotencyKey() }
        if (restore) {
          const { items: now } = await body(
            restore === 'undo' ? undoVerdicts({ path, headers }) : redoVerdicts({ path, headers }),
          )
          show(now)
        } else {
          const some = items.slice(number * BATCH, (number + 1) * BATCH)
          await body(postVerdicts({ path, headers, body: { items: some } }))
          // A list that was asked for before the server had these, and comes only now, would take them off the page.
          show(some)
        }
      }
    },
    onError: (error, { restore }) => {
      const problem = toProblem(error)
      const title = restore ? `There is no ${restore}` : 'The verdict was not saved'
      notifications.show({ color: restore ? undefined : 'red', title, message: problem.detail })
      void queries.invalidateQueries({ queryKey: key })
    },
    onSettled: () => askAgain(),
  })

  // What is shown at once when it is taken back or given again; without it, the answer of the server is awaited.
  const done = useRef<Posting[]>([])
  const undone = useRef<Posting[]>([])
  const { mutate } = post
  const apply = useCallback(
    (posting: Posting) => {
      show(posting.items)
      mutate(posting)
    },
    [show, mutate],
  )
  const judge = useCallback(
    (indices: number[], verdict: VerdictValue | null) => {
      if (indices.length === 0) return
      const items = indices.map((index) => ({ index, verdict }))
      if (items.every((item) => (verdicts.get(item.index) ?? null) === verdict)) return // as the server sees it, nothing
      const requests = Math.ceil(items.length / BATCH)
      done.current.push({ items: inverse(verdicts, items), requests })
      undone.current = []
      if (items.length > 1) {
        const replaced = indices.filter((i) => verdicts.has(i) && verdicts.get(i) !== verdict).length
        notifications.show({
          message: `${plural(items.length, 'image')} judged${replaced > 0 ? `; ${replaced} of your own verdicts replaced` : ''}. Ctrl+Z undoes it.`,
        })
      }
      apply({ items, requests })
    },
    [apply, verdicts],
  )
  const step = useCallback(
    (from: typeof done, to: typeof done, restore: 'undo' | 'redo') => {
      const { items, requests } = from.current.pop() ?? { items: [], requests: 1 }
      if (items.length > 0) to.current.push({ items: inverse(verdicts, items), requests })
      apply({ items, restore, requests })
    },
    [apply, verdicts],
  )
  const undo = useCallback(() => step(done, undone, 'undo'), [step])
  const redo = useCallback(() => step(undone, done, 'redo'), [step])
  return { verdicts, judge, undo, redo }
}
