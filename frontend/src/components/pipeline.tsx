// Where a case stands: Score, Collapse, Review, Repair, Verify.
import type { Case, Remedy, ReviewProgress } from '@/client'
import { count, percent, plural } from '@/lib/format'

type StepState = 'done' | 'now' | 'todo' | 'bad'

export function Pipeline({ item, review, remedies }: { item: Case; review?: ReviewProgress; remedies: Remedy[] }) {
  const scored = item.finding !== null
  const last = remedies.find((r) => r.verification !== null) ?? remedies[0]
  const running = remedies.some((r) => r.state === 'running')
  const judged = review && review.n_flagged > 0 ? review.n_flagged_judged / review.n_flagged : 0
  const healed = last?.state === 'verified'
  const failed = item.state === 'failed' ? 'bad' : 'now'
  const steps: { name: string; state: StepState; note: string }[] = [
    {
      name: 'Score',
      state: scored ? 'done' : failed,
      note: item.finding
        ? plural(item.finding.n_train, 'training image')
        : item.state === 'failed'
          ? 'failed'
          : 'running',
    },
    {
      name: 'Collapse',
      state: scored ? 'done' : 'todo',
      note: item.finding ? `${count(item.finding.n_flagged)} flagged` : 'waiting',
    },
    {
      name: 'Review',
      state: !scored ? 'todo' : judged >= 1 ? 'done' : 'now',
      note: scored ? `${percent(judged, 0)} of the flagged judged` : 'waiting',
    },
    {
      name: 'Repair',
      state: running ? 'now' : last?.verification ? 'done' : 'todo',
      note: running
        ? 'running'
        : last?.verification
          ? `${plural(last.n_removed, 'image')} removed (${last.method.toUpperCase()})`
          : 'not started',
    },
    {
      name: 'Verify',
      state: !last?.verification ? 'todo' : healed ? 'done' : 'bad',
      note: !last?.verification ? 'waiting' : healed ? 'healed' : 'not healed',
    },
  ]
  return (
    <ol className="pipeline" aria-label="Where the case stands">
      {steps.map((step) => (
        <li key={step.name} data-state={step.state}>
          <strong>{step.name}</strong>
          {step.note}
        </li>
      ))}
    </ol>
  )
}
