// Learning from verdicts: the server fits the scores again with what the team has said; histogram and gallery follow.
import { useLocalStorage } from '@mantine/hooks'
import { notifications } from '@mantine/notifications'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useCallback, useEffect, useMemo, useRef } from 'react'
import { type Case, type Job, refitCase } from '@/client'
import { body, toProblem } from '@/lib/api'
import { learnedSentence } from '@/lib/learning'
import { q } from '@/lib/queries'
import { postingVerdicts } from './use-verdicts'

const POLL_MS = 200
/** Quiet time after the last verdict before the scores follow on their own. */
const PAUSE_MS = 1000

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const isOver = (job: Job) => job.state === 'succeeded' || job.state === 'failed' || job.state === 'cancelled'

export function useLearning(item: Case) {
  const queries = useQueryClient()
  const review = useQuery(q.review(item.id))
  const [auto, setAuto] = useLocalStorage({ key: 'orfila-learn-as-i-go', defaultValue: false })
  const toLearn = review.data?.n_to_learn ?? 0

  const learning = useMutation({
    mutationFn: async () => {
      const before = item.finding
      // Pressed right after a verdict: the server must have it first.
      while (queries.isMutating({ mutationKey: postingVerdicts(item.id) }) > 0) await sleep(POLL_MS)
      const progress = await queries.fetchQuery({ ...q.review(item.id), staleTime: 0 })
      if (progress.n_to_learn === 0) return null
      let job: Job = await body(refitCase({ path: { case_id: item.id } }))
      while (!isOver(job)) {
        await sleep(POLL_MS)
        job = await queries.fetchQuery({ ...q.job(job.id), staleTime: 0 })
      }
      if (job.state !== 'succeeded') throw new Error(job.error ?? 'It was cancelled.')
      await queries.invalidateQueries({ queryKey: ['case', item.id] })
      return { before, after: (await queries.fetchQuery(q.case(item.id))).finding }
    },
    onSuccess: (learned) => {
      const message = learned
        ? learnedSentence(learned.before, learned.after)
        : 'There is no new verdict to learn from.'
      if (message) notifications.show({ message })
    },
    onError: (error) => {
      const problem = toProblem(error)
      notifications.show({ color: 'red', title: 'The scores did not learn', message: problem.detail })
    },
  })

  const { mutate, isPending } = learning
  const learn = useCallback(() => {
    if (!isPending) mutate()
  }, [isPending, mutate])
  // Verdicts that a failed attempt was made with are not tried again on their own.
  const tried = useRef(0)
  const judgedAt = review.dataUpdatedAt
  useEffect(() => {
    if (!auto || toLearn === 0 || isPending || tried.current === judgedAt) return
    const timer = setTimeout(() => {
      tried.current = judgedAt
      mutate()
    }, PAUSE_MS)
    return () => clearTimeout(timer)
  }, [auto, toLearn, isPending, judgedAt, mutate])

  return useMemo(
    () => ({ toLearn, learn, isLearning: isPending, auto, setAuto }),
    [toLearn, learn, isPending, auto, setAuto],
  )
}
