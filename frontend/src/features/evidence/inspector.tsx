// One training image beside the affected one, at original pixels: its scores, why it is flagged, and the verdict buttons.
import { useDebouncedValue } from '@mantine/hooks'
import { memo } from 'react'
import type { Case, Dataset } from '@/client'
import { Mark } from '@/components/marks'
import { PixelImage } from '@/components/pixel-image'
import { Empty } from '@/components/states'
import { Comments } from '@/features/talk/comments'
import { address } from '@/lib/api'
import { keyName, useBindings } from '@/lib/bindings'
import { className, count } from '@/lib/format'
import { type VerdictValue, verdictLabel } from '@/lib/verdicts'
import { Difference } from './difference'
import { Nearest } from './nearest'
import { Why } from './why'
import { type Glass, ZoomBox } from './zoom-box'

const values: VerdictValue[] = ['poison', 'clean', 'unsure']
const SIZE = 160
/** How strongly the difference is shown; 0: not at all. */
export type Gain = 0 | 1 | 8
/** The detail follows the focus when it has rested so long. */
const REST_MS = 80

export function VerdictButtons({
  verdict,
  targets,
  onJudge,
}: {
  verdict: VerdictValue | null
  targets: number
  onJudge: (verdict: VerdictValue | null) => void
}) {
  const keys = useBindings((state) => state.keys)
  return (
    <div role="group" aria-label={`Verdict on ${targets === 1 ? 'this image' : `${targets} images`}`}>
      <div style={{ display: 'flex', gap: 8 }}>
        {values.map((value) => (
          <button
            key={value}
            type="button"
            className="verdict-button"
            aria-pressed={verdict === value}
            aria-keyshortcuts={keyName(keys[value])}
            onClick={() => onJudge(verdict === value ? null : value)}
          >
            <Mark kind={value} /> {verdictLabel[value]} <kbd>{keyName(keys[value])}</kbd>
          </button>
        ))}
      </div>
      {targets > 1 && (
        <p className="quiet" style={{ margin: '8px 0 0', fontSize: 12 }}>
          Applies to the {count(targets)} selected images.
        </p>
      )}
    </div>
  )
}

export const Inspector = memo(function Inspector({
  item,
  dataset,
  index,
  verdict,
  targets,
  blink,
  difference,
  glass,
  onGlass,
  verdictOf,
  onJudge,
  onOpen,
}: {
  item: Case
  dataset: Dataset
  index: number | null
  verdict: VerdictValue | null
  targets: number
  blink: boolean
  difference: Gain
  glass: Glass
  onGlass: (how: (glass: Glass) => Glass) => void
  verdictOf: (index: number) => VerdictValue | null
  onJudge: (verdict: VerdictValue | null) => void
  /** Shows another image here. */
  onOpen: (index: number) => void
}) {
  const keys = useBindings((state) => state.keys)
  const affected = item.affected[0]
  if (index === null || !affected) {
    return (
      <section className="panel" aria-label="Inspector">
        <Empty>Choose an image of the gallery. It appears here beside the affected image.</Empty>
      </section>
    )
  }
  const candidateSrc = address.pixels(dataset.id, index)
  const affectedSrc = address.affected(item.id, affected.number)
  return (
    <section className="panel panel-tight" aria-label="Inspector">
      <div style={{ display: 'flex', gap: 12, justifyContent: 'space-between' }}>
        <figure style={{ margin: 0 }}>
          <ZoomBox glass={glass} change={onGlass}>
            <PixelImage src={affectedSrc} alt={`Affected image ${affected.name}`} size={SIZE} />
          </ZoomBox>
          <figcaption style={{ fontSize: 12, marginTop: 4, display: 'flex', gap: 4, alignItems: 'center' }}>
            <Mark kind="affected" /> affected, seen as {className(dataset.classes, affected.predicted)}
          </figcaption>
        </figure>
        <figure style={{ margin: 0, minHeight: SIZE + 24 }}>
          <ZoomBox glass={glass} change={onGlass}>
            {difference ? (
              <Difference a={candidateSrc} b={affectedSrc} size={SIZE} gain={difference} />
            ) : (
              <PixelImage
                src={blink ? affectedSrc : candidateSrc}
                alt={blink ? 'Affected image' : `Training image ${index}`}
                size={SIZE}
              />
            )}
          </ZoomBox>
          <figcaption style={{ fontSize: 12, marginTop: 4, display: 'flex', gap: 4, alignItems: 'center' }}>
            <Mark kind={verdict ?? 'unjudged'} />{' '}
            {difference
              ? `difference${difference > 1 ? ` × ${difference}` : ''}`
              : blink
                ? 'affected'
                : `training ${index}`}
          </figcaption>
        </figure>
      </div>
      <p className="quiet" style={{ fontSize: 12, margin: '4px 0 12px' }}>
        Hold <kbd>{keyName(keys.blink)}</kbd> to blink · <kbd>{keyName(keys.difference)}</kbd> difference ·{' '}
        <kbd>{keyName(keys.glass)}</kbd> or wheel enlarges · <kbd>?</kbd> keys
      </p>
      <VerdictButtons verdict={verdict} targets={targets} onJudge={onJudge} />
      <Detail item={item} dataset={dataset} index={index} verdictOf={verdictOf} onOpen={onOpen} />
      <div style={{ marginTop: 16 }}>
        {/* At once: a comment typed right after a verdict belongs to the image that is shown. */}
        <Comments key={index} caseId={item.id} index={index} />
      </div>
    </section>
  )
})

/** What the server knows of the image. It follows when the focus rests: who judges by key looks at pictures. */
function Detail({
  item,
  dataset,
  index,
  verdictOf,
  onOpen,
}: {
  item: Case
  dataset: Dataset
  index: number
  verdictOf: (index: number) => VerdictValue | null
  onOpen: (index: number) => void
}) {
  const [rested] = useDebouncedValue(index, REST_MS)
  return (
    <div style={{ marginTop: 16, opacity: rested === index ? 1 : 0.5 }} aria-busy={rested !== index}>
      <Why item={item} dataset={dataset} index={rested} />
      {dataset.atlas && (
        <Nearest
          caseId={item.id}
          datasetId={dataset.id}
          atlas={dataset.atlas}
          index={rested}
          verdictOf={verdictOf}
          onOpen={onOpen}
        />
      )}
    </div>
  )
}
