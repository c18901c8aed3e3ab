// One training image beside the affected one, at original pixels: its scores, why it is flagged, and the verdict buttons.
import { Skeleton } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import type { Case, Dataset } from '@/client'
import { HowObtained } from '@/components/derived'
import { Mark } from '@/components/marks'
import { Facts } from '@/components/page'
import { PixelImage } from '@/components/pixel-image'
import { Empty, Loaded } from '@/components/states'
import { Comments } from '@/features/talk/comments'
import { address } from '@/lib/api'
import { className, count, score, share } from '@/lib/format'
import { q } from '@/lib/queries'
import { type VerdictValue, verdictKey, verdictLabel } from '@/lib/verdicts'
import { Difference } from './difference'
import { ShiftStrip } from './shift-strip'

const values: VerdictValue[] = ['poison', 'clean', 'unsure']
const SIZE = 160

export function VerdictButtons({
  verdict,
  targets,
  onJudge,
}: {
  verdict: VerdictValue | null
  targets: number
  onJudge: (verdict: VerdictValue | null) => void
}) {
  return (
    <div role="group" aria-label={`Verdict on ${targets === 1 ? 'this image' : `${targets} images`}`}>
      <div style={{ display: 'flex', gap: 8 }}>
        {values.map((value) => (
          <button
            key={value}
            type="button"
            className="verdict-button"
            aria-pressed={verdict === value}
            aria-keyshortcuts={verdictKey[value]}
            onClick={() => onJudge(verdict === value ? null : value)}
          >
            <Mark kind={value} /> {verdictLabel[value]} <kbd>{verdictKey[value]}</kbd>
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

export function Inspector({
  item,
  dataset,
  index,
  verdict,
  targets,
  blink,
  difference,
  onJudge,
}: {
  item: Case
  dataset: Dataset
  index: number | null
  verdict: VerdictValue | null
  targets: number
  blink: boolean
  difference: boolean
  onJudge: (verdict: VerdictValue | null) => void
}) {
  const query = useQuery({ ...q.evidence(item.id, index ?? 0), enabled: index !== null, placeholderData: (old) => old })
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
          <PixelImage src={affectedSrc} alt={`Affected image ${affected.name}`} size={SIZE} />
          <figcaption style={{ fontSize: 12, marginTop: 4, display: 'flex', gap: 4, alignItems: 'center' }}>
            <Mark kind="affected" /> affected, seen as {className(dataset.classes, affected.predicted)}
          </figcaption>
        </figure>
        <figure style={{ margin: 0, minHeight: SIZE + 24 }}>
          {difference ? (
            <Difference a={candidateSrc} b={affectedSrc} size={SIZE} />
          ) : (
            <PixelImage
              src={blink ? affectedSrc : candidateSrc}
              alt={blink ? 'Affected image' : `Training image ${index}`}
              size={SIZE}
            />
          )}
          <figcaption style={{ fontSize: 12, marginTop: 4, display: 'flex', gap: 4, alignItems: 'center' }}>
            <Mark kind={verdict ?? 'unjudged'} /> {difference ? 'difference' : blink ? 'affected' : `training ${index}`}
          </figcaption>
        </figure>
      </div>
      <p className="quiet" style={{ fontSize: 12, margin: '4px 0 12px' }}>
        Hold <kbd>V</kbd> to blink · <kbd>D</kbd> difference · <kbd>?</kbd> all keys
      </p>
      <VerdictButtons verdict={verdict} targets={targets} onJudge={onJudge} />
      <div style={{ marginTop: 16, opacity: query.isPlaceholderData ? 0.5 : 1 }}>
        <Loaded query={query} skeleton={<Skeleton height={320} />}>
          {(evidence) => (
            <>
              <h2
                style={{
                  fontSize: 14,
                  lineHeight: '20px',
                  margin: '0 0 8px',
                  display: 'flex',
                  gap: 4,
                  alignItems: 'center',
                }}
              >
                Why this image?
                <HowObtained what="the influence shift">
                  Influence of this training image on the transformed affected image minus that on the affected image
                  itself. Strongly negative under transforms that break the trigger: influence collapse. A bar is the
                  mean of a transform, a tick one query.
                </HowObtained>
              </h2>
              <ShiftStrip evidence={evidence} />
              <div style={{ marginTop: 12 }}>
                <Facts
                  items={[
                    [
                      'Posterior',
                      <span key="p" className="mono">
                        {share(evidence.row.posterior)}
                      </span>,
                    ],
                    ['Rank', `${count(evidence.rank)} of ${count(dataset.n_train)}`],
                    ['Flagged', evidence.row.flagged ? 'yes' : evidence.row.suspect ? 'no' : 'no, not a suspect'],
                    [
                      'Paper rule',
                      `${evidence.row.n_collapsed} of ${evidence.shifts.length} shifts negative${evidence.row.flagged_paper ? ': flagged' : ''}`,
                    ],
                    ['Label', evidence.label_name],
                    [
                      'Collapse score',
                      <span key="c" className="mono">
                        {score(evidence.row.collapse_score)}
                      </span>,
                    ],
                    ...(item.finding?.mark
                      ? [
                          [
                            'Mark score',
                            <span key="k" className="mono">
                              {score(evidence.row.mark_score)}
                            </span>,
                          ] as [string, ReactNode],
                        ]
                      : []),
                    [
                      'Mean shift',
                      <span key="m" className="mono">
                        {score(evidence.row.shift_mean)}
                      </span>,
                    ],
                    [
                      'Influence',
                      <span key="i" className="mono">
                        {score(evidence.row.influence)}
                      </span>,
                    ],
                    [
                      'Self-influence',
                      <span key="s" className="mono">
                        {score(evidence.row.self_influence)}
                      </span>,
                    ],
                    [
                      'File',
                      <span key="f" className="mono">
                        {evidence.row.name}
                      </span>,
                    ],
                  ]}
                />
              </div>
              <p style={{ margin: '12px 0 0' }}>
                <a href={address.original(dataset.id, index)} download>
                  Original file
                </a>
              </p>
            </>
          )}
        </Loaded>
        <div style={{ marginTop: 16 }}>
          <Comments key={index} caseId={item.id} index={index} />
        </div>
      </div>
    </section>
  )
}
