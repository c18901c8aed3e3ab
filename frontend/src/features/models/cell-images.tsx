// The test images of one cell of the confusion matrix, most confident first.
import { useQuery } from '@tanstack/react-query'
import type { ClassifierModel, Dataset, Prediction } from '@/client'
import { TilePicture } from '@/components/gallery'
import { Empty, Loaded } from '@/components/states'
import { naturalZoom } from '@/lib/atlas'
import { className, count, share } from '@/lib/format'
import { q } from '@/lib/queries'

export function CellImages({
  model,
  dataset,
  cell,
  chosen,
  onChoose,
}: {
  model: ClassifierModel
  dataset: Dataset
  cell: { label: number; predicted: number }
  chosen: readonly number[]
  onChoose: (prediction: Prediction) => void
}) {
  const query = useQuery(q.predictions(model.id, cell.label, cell.predicted))
  const atlas = dataset.atlas
  return (
    <Loaded query={query}>
      {(page) => (
        <div>
          <p style={{ marginTop: 0 }}>
            <strong>{className(dataset.classes, cell.label)}</strong> predicted as{' '}
            <strong>{className(dataset.classes, cell.predicted)}</strong>
            <span className="quiet">
              {' '}
              · {count(page.items.length)} of {count(page.total ?? page.items.length)} shown, most confident first
            </span>
          </p>
          {page.items.length === 0 && <Empty>No test image lies in this cell.</Empty>}
          <div style={{ display: 'flex', flexWrap: 'wrap', gap: 8, maxHeight: 420, overflowY: 'auto', padding: 4 }}>
            {atlas &&
              page.items.map((prediction) => (
                <button
                  key={prediction.index}
                  type="button"
                  className="tile"
                  style={{ color: 'inherit' }}
                  aria-pressed={chosen.includes(prediction.index)}
                  aria-label={`Test image ${prediction.index}, confidence ${share(prediction.confidence)}`}
                  title={`#${prediction.index} ${prediction.name}`}
                  onClick={() => onChoose(prediction)}
                >
                  <TilePicture
                    datasetId={dataset.id}
                    atlas={atlas}
                    index={prediction.index}
                    zoom={naturalZoom(atlas.tile)}
                  />
                  <span className="mono quiet" style={{ display: 'block' }}>
                    {share(prediction.confidence)}
                  </span>
                </button>
              ))}
          </div>
        </div>
      )}
    </Loaded>
  )
}
