// The first steps: a strip above the pages of a case that leads a new user from the finding to a healed model.
import { useLocalStorage } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useEffect } from 'react'
import type { Case } from '@/client'
import { toProblem } from '@/lib/api'
import { q } from '@/lib/queries'
import { isDone, type StepName, steps } from './steps'

const to = {
  '': '/c/$caseId',
  evidence: '/c/$caseId/evidence',
  repair: '/c/$caseId/repair',
  verify: '/c/$caseId/verify',
} as const

/** `place`: the page of the case that is shown. */
export function Tour({ item, place }: { item: Case; place: string }) {
  const [isClosed, setClosed] = useLocalStorage({
    key: 'orfila-first-steps-closed',
    defaultValue: false,
    getInitialValueInEffect: false,
  })
  const [seen, setSeen] = useLocalStorage<StepName[]>({
    key: `orfila-first-steps-${item.id}`,
    defaultValue: [],
    getInitialValueInEffect: false,
  })
  const show = !isClosed && item.state !== 'archived'
  const reviewed = useQuery({ ...q.review(item.id), enabled: show && item.finding !== null, retry: false })
  const review = reviewed.data
  const remedies = useQuery({ ...q.remedies(item.id), enabled: show }).data ?? []
  const here = steps.find((step) => step.place === place)?.name
  useEffect(() => {
    if (show && here && item.finding && !seen.includes(here)) setSeen([...seen, here])
  }, [show, here, item.finding, seen, setSeen])

  // Who judges blind is led by the round, and sees no evidence yet.
  if (!show || (reviewed.error && toProblem(reviewed.error).code === 'blind')) return null
  const standing = { item, review, remedies, seen }
  const doneSteps = steps.map((step) => isDone(step.name, standing))
  const at = doneSteps.indexOf(false)
  const current = at < 0 ? null : steps[at]
  const isShort = place === 'evidence' // the workbench needs the room
  return (
    <aside className="panel panel-tight tour" data-short={isShort || undefined} aria-label="First steps">
      <ol>
        {steps.map((step, k) => (
          <li
            key={step.name}
            data-state={doneSteps[k] ? 'done' : k === at ? 'now' : 'todo'}
            aria-current={k === at ? 'step' : undefined}
          >
            <span aria-hidden="true">{doneSteps[k] ? '✓' : k + 1}</span> {step.title}
            {doneSteps[k] && <span className="quiet"> (done)</span>}
          </li>
        ))}
      </ol>
      <p>
        <span>
          {isShort && current && <strong>{current.title}: </strong>}
          {current
            ? current.says
            : 'Solved: what caused it is found, judged and removed, and the proof stands on the page “Verify”.'}
        </span>
        {current && current.place !== place && (
          <Link to={to[current.place]} params={{ caseId: item.id }}>
            Take me there
          </Link>
        )}
        <button type="button" className="tab" onClick={() => setClosed(true)}>
          {current ? 'Hide the first steps' : 'Close'}
        </button>
      </p>
    </aside>
  )
}
