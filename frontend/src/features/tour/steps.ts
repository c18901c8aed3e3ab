// The first case, step by step. What is done is read from the case itself, so that the steps never claim too much.
import type { Case, Remedy, ReviewProgress } from '@/client'

export const TO_JUDGE = 3

export type StepName = 'finding' | 'images' | 'judge' | 'repair' | 'proof'

export interface Step {
  name: StepName
  /** Where it is done, below the case. */
  place: '' | 'evidence' | 'repair' | 'verify'
  title: string
  says: string
}

export const steps: readonly Step[] = [
  {
    name: 'finding',
    place: '',
    title: 'Read the finding',
    says: 'One sentence says what explains the wrong prediction, and how sure it is. A ? beside a number says how it was obtained.',
  },
  {
    name: 'images',
    place: 'evidence',
    title: 'Look at the flagged images',
    says: 'Choose one of the gallery: it stands beside the affected image. A key blinks between the two; ? shows all keys.',
  },
  {
    name: 'judge',
    place: 'evidence',
    title: `Judge ${TO_JUDGE} images`,
    says: 'The keys stand on the buttons; the next image comes by itself, and Ctrl Z takes a verdict back.',
  },
  {
    name: 'repair',
    place: 'repair',
    title: 'Remove the poison from the model',
    says: 'Choose what to remove and how; the preview says what to expect. The old model stays as it is.',
  },
  {
    name: 'proof',
    place: 'verify',
    title: 'See whether it is healed',
    says: 'The affected image before and after, the accuracy, and what else has changed.',
  },
]

export interface Standing {
  item: Case
  review: ReviewProgress | undefined
  remedies: Remedy[]
  /** Steps whose page this browser has shown. */
  seen: readonly StepName[]
}

export function isDone(step: StepName, { item, review, remedies, seen }: Standing): boolean {
  switch (step) {
    case 'finding':
    case 'images':
      return item.finding !== null && seen.includes(step)
    case 'judge':
      return (review?.n_judged ?? 0) >= TO_JUDGE
    case 'repair':
      return remedies.some((remedy) => remedy.verification !== null)
    case 'proof':
      return remedies.some((remedy) => remedy.state === 'verified') && seen.includes(step)
  }
}
