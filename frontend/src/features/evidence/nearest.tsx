// The suspects nearest to an image: what pulls the model the same way. Poison has poison for neighbours.
import { Skeleton } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { memo, useEffect, useRef } from 'react'
import type { Atlas } from '@/client'
import { HowObtained } from '@/components/derived'
import { TilePicture } from '@/components/gallery'
import { Mark } from '@/components/marks'
import { toProblem } from '@/lib/api'
import { naturalZoom } from '@/lib/atlas'
import { score } from '@/lib/format'
import { q } from '@/lib/queries'
import { type VerdictValue, verdictLabel } from '@/lib/verdicts'
import { useMapState } from './map/use-map'

export const Nearest = memo(function Nearest({
  caseId,
  datasetId,
  atlas,
  index,
  verdictOf,
  onOpen,
}: {
  caseId: string
  datasetId: string
  atlas: Atlas
  index: number
  verdictOf: (index: number) => VerdictValue | null
  onOpen: (index: number) => void
}) {
  // They are read from the map by main axes, which is made when somebody looks for the first time.
  const map = useMapState(caseId, 'pca')
  const query = useQuery({
    ...q.nearest(caseId, index),
    enabled: map.isFinished,
    placeholderData: (old) => old,
  })
  // A map of an earlier version lacks them, and is made once more.
  const { again } = map
  const asked = useRef(false)
  const isOld = query.error !== null && toProblem(query.error).code === 'map_not_finished'
  useEffect(() => {
    if (isOld && !asked.current) again()
    asked.current ||= isOld
  }, [isOld, again])
  const found = query.data
  const problem = map.error ?? (isOld ? null : query.error)
  return (
    <section aria-label="Nearest suspects" aria-busy={query.isPlaceholderData} style={{ marginTop: 16 }}>
      <h2 className="inspector-title">
        Nearest suspects
        <HowObtained what="the nearest suspects">
          Distance of the unit fingerprints along the suspects' main axes (at most 32): 0 for the same gradient, 1.41
          for two that have nothing to do with each other.
        </HowObtained>
      </h2>
      {problem || map.failure ? (
        <p className="quiet" style={{ margin: 0, fontSize: 12 }}>
          {map.failure ?? toProblem(problem).detail}
        </p>
      ) : !found ? (
        <Skeleton height={76} />
      ) : !found.is_suspect ? (
        <p className="quiet" style={{ margin: 0, fontSize: 12 }}>
          This image does not carry the label of the affected image; only suspects are compared.
        </p>
      ) : (
        <div className="nearest" style={{ opacity: query.isPlaceholderData ? 0.5 : 1 }}>
          {found.items.map((each) => {
            const verdict = verdictOf(each.index)
            return (
              <button
                key={each.index}
                type="button"
                className="tile"
                data-verdict={verdict ?? undefined}
                title={`#${each.index} · distance ${score(each.distance)}`}
                aria-label={`Image ${each.index}, distance ${score(each.distance)}${verdict ? `, judged ${verdictLabel[verdict].toLowerCase()}` : ''}`}
                onClick={() => onOpen(each.index)}
              >
                <TilePicture
                  datasetId={datasetId}
                  atlas={atlas}
                  index={each.index}
                  zoom={naturalZoom(atlas.tile)}
                  among={found.items.map((item) => item.index)}
                />
                {verdict && (
                  <span className="mark">
                    <Mark kind={verdict} size={10} />
                  </span>
                )}
              </button>
            )
          })}
        </div>
      )}
    </section>
  )
})
