// What a removal is expected to do to each affected image, before anything is repaired.
import { useQuery } from '@tanstack/react-query'
import type { Case } from '@/client'
import { HowObtained } from '@/components/derived'
import { Mark } from '@/components/marks'
import { PixelImage } from '@/components/pixel-image'
import { Rows } from '@/components/states'
import { address, toProblem } from '@/lib/api'
import { plural, score } from '@/lib/format'
import { q } from '@/lib/queries'
import type { RemovalKind } from './removal'

export function Preview({ item, kind, threshold }: { item: Case; kind: RemovalKind; threshold: number | null }) {
  const query = useQuery({ ...q.removalPreview(item.id, kind, threshold), placeholderData: (old) => old })
  return (
    <section className="panel" aria-label="Expected effect" aria-live="polite">
      <h2>
        Expected effect{' '}
        <HowObtained what="the expected effect">
          To first order: the sum, over the removed images, of the influence of each on the affected image, added to its
          margin. A retrained model may differ; after a repair the page shows both.
        </HowObtained>
      </h2>
      {query.error ? (
        <p className="quiet" style={{ margin: 0 }}>
          {toProblem(query.error).detail}
        </p>
      ) : query.data ? (
        <>
          <p style={{ marginTop: 0 }}>Without {plural(query.data.n_removed, 'training image')}:</p>
          <table className="table">
            <thead>
              <tr>
                <th style={{ width: 72 }}>Image</th>
                <th style={{ textAlign: 'right' }}>Margin now</th>
                <th style={{ textAlign: 'right' }}>Expected</th>
                <th>Prediction</th>
              </tr>
            </thead>
            <tbody>
              {query.data.affected.map((a) => (
                <tr key={a.number}>
                  <td>
                    <PixelImage
                      src={address.affected(item.id, a.number)}
                      alt={`Affected image ${a.number}`}
                      size={48}
                    />
                  </td>
                  <td className="number">{score(a.margin)}</td>
                  <td className="number">{score(a.predicted_margin)}</td>
                  <td>
                    <span className="chip">
                      <Mark kind={a.expected_to_flip ? 'clean' : 'unsure'} size={10} />
                      {a.expected_to_flip ? 'flips' : 'stays'}
                    </span>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      ) : (
        <Rows n={2} />
      )}
    </section>
  )
}
