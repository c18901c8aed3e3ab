// Remedies side by side: what each took, what it healed, and what it cost.
import { Link } from '@tanstack/react-router'
import type { AffectedOutcome, Remedy } from '@/client'
import { StateChip } from '@/components/status'
import { ago, count, duration, percent, score } from '@/lib/format'
import { methods } from './methods'

/** The image that is least healed: the greatest margin that is left for the old label. */
const worst = (affected: AffectedOutcome[]): AffectedOutcome | undefined =>
  affected.reduce<AffectedOutcome | undefined>(
    (most, one) => (most === undefined || one.after_margin > most.after_margin ? one : most),
    undefined,
  )

function RemedyRow({ remedy, shown }: { remedy: Remedy; shown: boolean }) {
  const proof = remedy.verification
  const least = proof ? worst(proof.affected) : undefined
  return (
    <tr aria-current={shown || undefined} style={shown ? { background: 'var(--faint)' } : undefined}>
      <td>
        <Link to="/c/$caseId/verify" params={{ caseId: remedy.case_id }} search={{ remedy: remedy.id }}>
          {methods[remedy.method].done}
        </Link>
      </td>
      <td>
        <StateChip state={remedy.state} />
      </td>
      <td className="number">{count(remedy.n_removed)}</td>
      <td className="number">
        {proof ? `${proof.affected.filter((a) => a.healed).length} of ${proof.affected.length}` : '–'}
      </td>
      <td className="number">{least ? `${score(least.before_margin)} → ${score(least.after_margin)}` : '–'}</td>
      <td className="number">{score(least?.predicted_margin)}</td>
      <td className="number">
        {typeof proof?.psr_after === 'number' ? `${percent(proof.psr_before)} → ${percent(proof.psr_after)}` : '–'}
      </td>
      <td className="number">{proof ? `${percent(proof.accuracy_before)} → ${percent(proof.accuracy_after)}` : '–'}</td>
      <td className="number">{proof ? count(proof.n_changed) : '–'}</td>
      <td className="number">{proof ? duration(proof.seconds) : '–'}</td>
      <td style={{ whiteSpace: 'nowrap' }}>{ago(remedy.created_at)}</td>
    </tr>
  )
}

/** `shown`: the remedy that the page is about, if it is about one. */
export function RemediesTable({ remedies, shown }: { remedies: Remedy[]; shown?: string }) {
  const right = ['Removed', 'Healed', 'Margin', 'Predicted', 'PSR', 'Accuracy', 'Changed', 'Time']
  return (
    <div style={{ overflowX: 'auto' }}>
      <table className="table">
        <thead>
          <tr>
            <th>Remedy</th>
            <th>State</th>
            {right.map((name) => (
              <th key={name} style={{ textAlign: 'right' }}>
                {name}
              </th>
            ))}
            <th>When</th>
          </tr>
        </thead>
        <tbody>
          {remedies.map((remedy) => (
            <RemedyRow key={remedy.id} remedy={remedy} shown={remedy.id === shown} />
          ))}
        </tbody>
      </table>
      <p className="quiet" style={{ fontSize: 12, margin: '8px 0 0' }}>
        Margin: of the affected image that is least healed, before and after; below zero, its old label has lost.
        Predicted: what the preview expected. Changed: test images that are now predicted otherwise.
      </p>
    </div>
  )
}
