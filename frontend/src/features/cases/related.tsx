// Other cases in which the same training images are flagged: one poison often has several symptoms.
import { VisuallyHidden } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { StateChip } from '@/components/status'
import { count, percent } from '@/lib/format'
import { q } from '@/lib/queries'

export function RelatedCases({ caseId }: { caseId: string }) {
  const found = useQuery(q.related(caseId)).data ?? []
  if (found.length === 0) return null
  return (
    <section className="panel" aria-label="Related cases">
      <h2>Related cases</h2>
      <table className="table">
        <thead>
          <tr>
            <th>Case</th>
            <th>State</th>
            <th style={{ textAlign: 'right' }}>Flagged</th>
            <th style={{ textAlign: 'right' }}>The same images</th>
            <th>
              <VisuallyHidden>Beside this case</VisuallyHidden>
            </th>
          </tr>
        </thead>
        <tbody>
          {found.map((other) => (
            <tr key={other.id}>
              <td>
                <Link to="/c/$caseId" params={{ caseId: other.id }}>
                  {other.name}
                </Link>
              </td>
              <td>
                <StateChip state={other.state} />
              </td>
              <td className="number">{count(other.n_flagged)}</td>
              <td className="number">
                {count(other.n_shared)} ({percent(other.overlap, 0)} of both)
              </td>
              <td style={{ textAlign: 'right' }}>
                <Link to="/compare" search={{ a: caseId, b: other.id }} aria-label={`Compare with ${other.name}`}>
                  Compare
                </Link>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
