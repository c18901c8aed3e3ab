// The ways to make a model forget: their names, one line of what each does, and whether it trains.
import type { RemedyCreate } from '@/client'

export type Method = RemedyCreate['method']

interface About {
  title: string
  /** What was done, for a report. */
  done: string
  how: string
  trains: boolean
}

export const methods: Record<Method, About> = {
  cf: {
    title: 'Fine-tune on the kept images (CF)',
    done: 'Fine-tuned (CF)',
    how: "Catastrophic forgetting: quick, and best in accuracy in the paper's nine settings.",
    trains: true,
  },
  eu: {
    title: 'Retrain from scratch without them (EU)',
    done: 'Retrained (EU)',
    how: 'Exact unlearning: the removed images never touch the new weights. The longest, and the reference.',
    trains: true,
  },
  scrub: {
    title: 'Away from the old model (SCRUB)',
    done: 'SCRUB',
    how: 'Distils the kept images from the old model, and pushes the removed ones away from it.',
    trains: true,
  },
  badt: {
    title: 'Two teachers (Bad Teacher)',
    done: 'Bad Teacher',
    how: 'The old model teaches the kept images, an untrained one the removed ones.',
    trains: true,
  },
  ssd: {
    title: 'Dampen parameters (SSD)',
    done: 'Dampened (SSD)',
    how: 'Shrinks the parameters that matter more to the removed images than to the rest.',
    trains: false,
  },
  influence: {
    title: 'One Newton step (influence)',
    done: 'Newton step (influence)',
    how: 'Takes the removed images out to first order, with the curvature that the index knows. Seconds.',
    trains: false,
  },
  selective: {
    title: 'Newton step in few units (selective)',
    done: 'Newton step in few units (selective)',
    how: 'The same, only in the units that carry the poison. Seconds.',
    trains: false,
  },
  iau: {
    title: 'Ascent and correction (IAU)',
    done: 'Ascent and correction (IAU)',
    how: 'Steps up the loss of the removed images, held back by the kept ones. Seconds.',
    trains: false,
  },
}

export const methodNames = Object.keys(methods) as Method[]
