// Learning from verdicts: the server fits the scores again with what the team has said; histogram and gallery follow.
import { useLocalStorage } from '@mantine/hooks'
import { notifications } from '@mantine/notifications'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useEffect, useRef } from 'react'
import { type Case, type Job, refitCase } from '@/client'
import { body, toProblem } from '@/lib/api'
import { learnedSentence } from '@/lib/learning'
import { q } from '@/lib/queries'

const POLL_MS = 200
/** Quiet time after the last verdict before the scores follow on their own. */
const PAUSE_MS = 1000

const isOver = (job: Job) => job.state === 'succeeded' || job.state === 'failed' || job.state === 'cancelled'

export function useLearning(item: Case) {
  const queries = useQueryClient()
  const review = useQuery(q.review(item.id))
  const [auto, setAuto] = useLocalStorage({ key: 'orfila-learn-as-i-go', defaultValue: false })
  const toLearn = review.data?.n_to_learn ?? 0

  const learning = useMutation({
    mutationFn: async () => {
      const before = item.finding
      let job: Job = await body(refitCase({ path: { case_id: item.id } }))
      while (!isOver(job)) {
        await new Promise((resolve) => setTimeout(resolve, POLL_MS))
        job = await queries.fetchQuery({ ...q.job(job.id), staleTime: 0 })
      }
      if (job.state !== 'succeeded') throw new Error(job.error ?? 'It was cancelled.')
      await queries.invalidateQueries({ queryKey: ['case', item.id] })
      return { before, after: (await queries.fetchQuery(q.case(item.id))).finding }
    },
    onSuccess: ({ before, after }) => {
      const message = learnedSentence(before, after)
      if (message) notifications.show({ message })
    },
    onError: (error) => {
      const problem = toProblem(error)
      notifications.show({ color: 'red', title: 'The scores did not learn', message: problem.detail })
    },
  })

  const { mutate, isPending } = learning
  const learn = () => {
    if (!isPending) mutate()
  }
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

  return { toLearn, learn, isLearning: isPending, auto, setAuto }
}
