// Shapes that carry a meaning, always in the same colour: diamond poison, circle clean, half circle unsure, star affected.
import type { VerdictValue } from '@/lib/verdicts'
import { verdictLabel } from '@/lib/verdicts'

export type MarkKind = VerdictValue | 'unjudged' | 'affected'

export function Mark({ kind, size = 12 }: { kind: MarkKind; size?: number }) {
  const colour = `var(--${kind})`
  return (
    <svg width={size} height={size} viewBox="0 0 12 12" aria-hidden="true" style={{ flex: 'none' }}>
      {kind === 'poison' && <path d="M6 0.500 11.500 6 6 11.500 0.500 6Z" fill={colour} />}
      {kind === 'clean' && <circle cx="6" cy="6" r="5" fill={colour} />}
      {kind === 'unsure' && (
        <>
          <circle cx="6" cy="6" r="4.500" fill="none" stroke={colour} strokeWidth="1.500" />
          <path d="M6 1.500a4.500 4.500 0 0 0 0 9z" fill={colour} />
        </>
      )}
      {kind === 'unjudged' && <circle cx="6" cy="6" r="4.500" fill="none" stroke={colour} strokeWidth="1.500" />}
      {kind === 'affected' && (
        <path d="M6 .5 7.700 4.200l4 .4-3 2.700.9 4L6 9.200l-3.600 2.100.9-4-3-2.700 4-.4z" fill={colour} />
      )}
    </svg>
  )
}

export function VerdictChip({ verdict }: { verdict: VerdictValue | null }) {
  return (
    <span className="chip">
      <Mark kind={verdict ?? 'unjudged'} size={10} />
      {verdict ? verdictLabel[verdict] : 'Not judged'}
    </span>
  )
}
