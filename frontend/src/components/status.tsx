// State chips: a word and a shape, never colour alone.
import type { Case, ClassifierModel, Dataset, Drill, Finding, Job, Remedy, Upload } from '@/client'

type AnyState =
  | Case['state']
  | Dataset['state']
  | ClassifierModel['state']
  | Job['state']
  | Remedy['state']
  | Drill['state']
  | Upload['state']

const look: Record<AnyState, { text: string; colour: string; shape: string }> = {
  scoring: { text: 'Scoring', colour: 'var(--affected)', shape: '◔' },
  in_review: { text: 'In review', colour: 'var(--affected)', shape: '◐' },
  repairing: { text: 'Repairing', colour: 'var(--affected)', shape: '◑' },
  verified: { text: 'Verified', colour: 'var(--clean)', shape: '●' },
  regressed: { text: 'Regressed', colour: 'var(--poison)', shape: '◆' },
  failed: { text: 'Failed', colour: 'var(--poison)', shape: '◆' },
  archived: { text: 'Archived', colour: 'var(--unjudged)', shape: '○' },
  receiving: { text: 'Coming in', colour: 'var(--affected)', shape: '◔' },
  converting: { text: 'Converting', colour: 'var(--affected)', shape: '◑' },
  expired: { text: 'Expired', colour: 'var(--unjudged)', shape: '○' },
  ingesting: { text: 'Reading files', colour: 'var(--affected)', shape: '◔' },
  ready: { text: 'Ready', colour: 'var(--clean)', shape: '●' },
  checking: { text: 'Checking', colour: 'var(--affected)', shape: '◔' },
  waiting: { text: 'Waiting', colour: 'var(--unjudged)', shape: '○' },
  queued: { text: 'Queued', colour: 'var(--unjudged)', shape: '○' },
  running: { text: 'Running', colour: 'var(--affected)', shape: '◔' },
  cancelling: { text: 'Cancelling', colour: 'var(--unsure)', shape: '◐' },
  finished: { text: 'Done', colour: 'var(--clean)', shape: '●' },
  succeeded: { text: 'Done', colour: 'var(--clean)', shape: '●' },
  cancelled: { text: 'Cancelled', colour: 'var(--unjudged)', shape: '○' },
  not_healed: { text: 'Not healed', colour: 'var(--poison)', shape: '◆' },
}

export function StateChip({ state }: { state: AnyState }) {
  const { text, colour, shape } = look[state]
  return (
    <span className="chip" data-state={state}>
      <span aria-hidden="true" style={{ color: colour }}>
        {shape}
      </span>
      {text}
    </span>
  )
}

const evidenceLook: Record<Finding['evidence'], { colour: string; shape: string }> = {
  'poisoning found': { colour: 'var(--poison)', shape: '◆' },
  'weak evidence': { colour: 'var(--unsure)', shape: '◐' },
  'no evidence of poisoning': { colour: 'var(--clean)', shape: '●' },
}

/** `strict`: found at the strict level, where nobody is accused lightly. */
export function EvidenceChip({ level, strict = false }: { level: Finding['evidence']; strict?: boolean }) {
  const { colour, shape } = evidenceLook[level]
  return (
    <span className="chip">
      <span aria-hidden="true" style={{ color: colour }}>
        {shape}
      </span>
      {level}
      {strict && <span className="quiet">strict level</span>}
    </span>
  )
}
