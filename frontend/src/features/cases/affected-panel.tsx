// The affected image(s) of a case and what the model says of them.
import type { Case } from '@/client'
import { Mark } from '@/components/marks'
import { PixelImage } from '@/components/pixel-image'
import { address } from '@/lib/api'
import { className, score, share } from '@/lib/format'

export function AffectedPanel({ item, classes, size }: { item: Case; classes: readonly string[]; size: number }) {
  return (
    <section className="panel">
      <h2 style={{ display: 'flex', gap: 6, alignItems: 'center' }}>
        <Mark kind="affected" />{' '}
        {item.affected.length > 1 ? `${item.affected.length} affected images` : 'Affected image'}
      </h2>
      <div style={{ display: 'flex', gap: 16, flexWrap: 'wrap' }}>
        {item.affected.map((image) => (
          <figure key={image.number} style={{ margin: 0 }}>
            <PixelImage
              src={address.affected(item.id, image.number)}
              alt={`Affected image ${image.name}`}
              size={size}
            />
            <figcaption style={{ fontSize: 12, marginTop: 8, maxWidth: Math.max(size, 160) }}>
              {image.predicted !== null ? (
                <div style={{ fontSize: 14 }}>
                  seen as <strong>{className(classes, image.predicted)}</strong>
                  {image.true_label !== null && `, really ${className(classes, image.true_label)}`}
                </div>
              ) : (
                <div>not predicted yet</div>
              )}
              <div className="quiet">
                {image.confidence !== null && <>confidence {share(image.confidence)} · </>}
                {image.margin !== null && <>margin {score(image.margin)}</>}
              </div>
              <div className="quiet mono" style={{ overflowWrap: 'anywhere' }}>
                {image.test_index !== null ? `test image ${image.test_index}` : image.name}
              </div>
              {image.note && <div>{image.note}</div>}
            </figcaption>
          </figure>
        ))}
      </div>
    </section>
  )
}
