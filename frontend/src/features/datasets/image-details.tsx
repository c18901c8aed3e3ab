// One image of a data set: the pixels that the model sees, the original file, where it came from.
import { Skeleton } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import type { Dataset } from '@/client'
import { Digest } from '@/components/copy'
import { Facts } from '@/components/page'
import { PixelImage } from '@/components/pixel-image'
import { Loaded } from '@/components/states'
import { address } from '@/lib/api'
import { bytes } from '@/lib/format'
import { q } from '@/lib/queries'

function Twins({ dataset, twins }: { dataset: Dataset; twins: number[] }) {
  return (
    <>
      {twins.map((twin, place) => (
        <span key={twin} className="mono">
          {place > 0 && ', '}
          <Link
            to="/p/$projectId/datasets/$datasetId"
            params={{ projectId: dataset.project_id, datasetId: dataset.id }}
            search={{ i: twin }}
          >
            {twin}
          </Link>
        </span>
      ))}
    </>
  )
}

export function ImageDetails({
  dataset,
  index,
  predicted = -1,
}: {
  dataset: Dataset
  index: number
  /** What the chosen model says of it; -1 where that is not known. */
  predicted?: number
}) {
  const query = useQuery(q.image(dataset.id, index))
  return (
    <section className="panel" aria-label={`Image ${index}`}>
      <Loaded query={query} skeleton={<Skeleton height={420} />}>
        {(image) => (
          <div style={{ display: 'grid', gap: 16 }}>
            <PixelImage
              src={address.pixels(dataset.id, index)}
              alt={`${image.label_name}, as the model sees it`}
              size={320}
            />
            <Facts
              items={[
                [
                  'Index',
                  <span key="i" className="mono">
                    {image.index}
                  </span>,
                ],
                ['Class', image.label_name],
                ...(predicted >= 0 ? [['Model says', dataset.classes[predicted]] as [string, ReactNode]] : []),
                ['Split', image.split === 'train' ? 'training' : 'test'],
                [
                  'File',
                  <span key="n" className="mono">
                    {image.name}
                  </span>,
                ],
                ['Original', `${image.width} × ${image.height}, ${image.mode}, ${bytes(image.original_bytes)}`],
                ['Conversion', image.note || 'none'],
                ['SHA-256', <Digest key="d" value={image.sha256} />],
                ...(image.twins.length > 0
                  ? [['Same bytes as', <Twins key="t" dataset={dataset} twins={image.twins} />] as [string, ReactNode]]
                  : []),
              ]}
            />
            {image.has_original && (
              <a href={address.original(dataset.id, index)} download>
                Download the original file
              </a>
            )}
          </div>
        )}
      </Loaded>
    </section>
  )
}
