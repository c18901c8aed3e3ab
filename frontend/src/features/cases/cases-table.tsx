// Cases as rows: the affected image, the finding in short, how far the review is.
import { Link } from '@tanstack/react-router'
import type { Case } from '@/client'
import { PixelImage } from '@/components/pixel-image'
import { EvidenceChip, StateChip } from '@/components/status'
import { address } from '@/lib/api'
import { ago, count } from '@/lib/format'

export function CasesTable({ cases }: { cases: Case[] }) {
  return (
    <table className="table">
      <thead>
        <tr>
          <th style={{ width: 56 }}>Image</th>
          <th>Case</th>
          <th>State</th>
          <th>Finding</th>
          <th style={{ textAlign: 'right' }}>Flagged</th>
          <th style={{ textAlign: 'right' }}>Judged</th>
          <th>Opened</th>
        </tr>
      </thead>
      <tbody>
        {cases.map((item) => (
          <tr key={item.id}>
            <td>
              {item.affected.length > 0 && (
                <PixelImage src={address.affected(item.id, item.affected[0].number)} alt="" size={36} />
              )}
            </td>
            <td>
              <Link to="/c/$caseId" params={{ caseId: item.id }} style={{ fontWeight: 600 }}>
                {item.name}
              </Link>
              <div className="quiet" style={{ fontSize: 12 }}>
                case {item.number}
              </div>
            </td>
            <td>
              <StateChip state={item.state} />
            </td>
            <td>
              {item.finding ? (
                <EvidenceChip level={item.finding.evidence} strict={item.finding.level === 'strict'} />
              ) : (
                <span className="quiet">–</span>
              )}
            </td>
            <td className="number">{item.finding ? count(item.finding.n_flagged) : '–'}</td>
            <td className="number">{count(item.n_judged ?? 0)}</td>
            <td style={{ whiteSpace: 'nowrap' }}>{ago(item.created_at)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}
