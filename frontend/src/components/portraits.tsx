// What the flagged images share: their mean, the class mean, the difference and the variance of each pixel. A fixed
// trigger becomes visible at once.
import { address } from '@/lib/api'
import { HowObtained } from './derived'
import { PixelImage } from './pixel-image'

const portraits = [
  ['difference', 'Difference', 'Mean of the flagged images minus the mean of the other images of the class.'],
  ['variance', 'Variance', 'Variance of each pixel over the flagged images: a constant trigger is dark.'],
  ['flagged_mean', 'Flagged mean', 'Mean of the flagged images.'],
  ['class_mean', 'Class mean', 'Mean of the images of the class that are not flagged.'],
] as const

interface Props {
  caseId: string
  /** Digest of the case's result: another one makes other pictures. */
  result: string | null
  threshold?: number
  size: number
}

export function Portraits({ caseId, result, threshold, size }: Props) {
  return (
    <div style={{ display: 'flex', gap: 12, flexWrap: 'wrap' }}>
      {portraits.map(([name, title, how]) => (
        <figure key={name} style={{ margin: 0 }}>
          <PixelImage src={address.portrait(caseId, name, result, threshold)} alt={how} size={size} />
          <figcaption style={{ fontSize: 12, display: 'flex', gap: 4, alignItems: 'center', marginTop: 4 }}>
            {title} <HowObtained what={title.toLowerCase()}>{how}</HowObtained>
          </figcaption>
        </figure>
      ))}
    </div>
  )
}
