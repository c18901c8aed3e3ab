// Where an affected image comes from: a test image, one that is known to carry the trigger, or a picture of one's own.
import { SegmentedControl, Stack } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useNavigate, useSearch } from '@tanstack/react-router'
import { useState } from 'react'
import type { ClassifierModel, Dataset } from '@/client'
import { ConfusionTable } from '@/components/confusion-matrix'
import { TilePicture } from '@/components/gallery'
import { Empty, Loaded } from '@/components/states'
import { UploadPanel } from '@/components/upload-panel'
import { naturalZoom } from '@/lib/atlas'
import { className, count } from '@/lib/format'
import { q } from '@/lib/queries'
import { CellImages } from '../models/cell-images'
import type { Dropped } from './chosen-images'

/** As many tiles as are drawn; the count says how many there are. */
const SHOWN = 200

const toggled = (all: number[], one: number) => (all.includes(one) ? all.filter((i) => i !== one) : [...all, one])

function TriggeredImages({
  dataset,
  chosen,
  onChoose,
}: {
  dataset: Dataset
  chosen: number[]
  onChoose: (chosen: number[]) => void
}) {
  const query = useQuery(q.datasetColumns(dataset.id))
  const atlas = dataset.atlas
  if (!atlas) return null
  return (
    <Loaded query={query}>
      {(table) => (
        <div>
          <p style={{ marginTop: 0 }}>
            Images of <strong>{dataset.name}</strong>
            <span className="quiet">
              {' '}
              · {count(Math.min(SHOWN, table.n))} of {count(table.n)} shown
            </span>
          </p>
          <div
            role="group"
            aria-label="Triggered images"
            style={{ display: 'flex', flexWrap: 'wrap', gap: 4, maxHeight: 320, overflowY: 'auto', padding: 4 }}
          >
            {Array.from(table.index.subarray(0, SHOWN), (index, row) => (
              <button
                key={index}
                type="button"
                className="tile"
                aria-pressed={chosen.includes(index)}
                aria-label={`Triggered image ${index}, ${className(dataset.classes, table.label[row])}`}
                onClick={() => onChoose(toggled(chosen, index))}
              >
                <TilePicture datasetId={dataset.id} atlas={atlas} index={index} zoom={naturalZoom(atlas.tile)} />
              </button>
            ))}
          </div>
        </div>
      )}
    </Loaded>
  )
}

export function AffectedPicker({
  projectId,
  model,
  dataset,
  triggered,
  tests,
  onTests,
  carriers,
  onCarriers,
  onDropped,
}: {
  projectId: string
  model: ClassifierModel
  dataset: Dataset
  /** The set of images known to carry the trigger, where one was chosen. */
  triggered: Dataset | undefined
  tests: number[]
  onTests: (tests: number[]) => void
  carriers: number[]
  onCarriers: (carriers: number[]) => void
  onDropped: (dropped: Dropped) => void
}) {
  const search = useSearch({ from: '/app/p/$projectId/cases/new' })
  const navigate = useNavigate({ from: '/p/$projectId/cases/new' })
  const [source, setSource] = useState<'test' | 'triggered' | 'file'>(carriers.length > 0 ? 'triggered' : 'test')
  const confusion = useQuery(q.confusion(model.id))
  const cell =
    search.label !== undefined && search.predicted !== undefined
      ? { label: search.label, predicted: search.predicted }
      : null
  return (
    <Stack gap={12}>
      <SegmentedControl
        aria-label="Where the affected image comes from"
        value={source}
        onChange={(value) => setSource(value as typeof source)}
        data={[
          { value: 'test', label: 'From the test split' },
          ...(triggered ? [{ value: 'triggered', label: 'From the triggered images' }] : []),
          { value: 'file', label: 'Drop or paste a picture' },
        ]}
        style={{ alignSelf: 'flex-start' }}
      />
      {source === 'triggered' && triggered && (
        <TriggeredImages dataset={triggered} chosen={carriers} onChoose={onCarriers} />
      )}
      {source === 'file' && (
        <UploadPanel
          projectId={projectId}
          purpose="image"
          accept="image/*"
          paste
          hint={`Shown to the model at ${dataset.width} × ${dataset.height}; another size or mode is converted, and said.`}
          onFinished={(upload, file) =>
            onDropped({ uploadId: upload.id, name: file.name, preview: URL.createObjectURL(file), trueLabel: null })
          }
        />
      )}
      {(source === 'test' || (source === 'triggered' && !triggered)) && (
        <div style={{ display: 'flex', flexWrap: 'wrap', gap: 16 }}>
          <Loaded query={confusion}>
            {(matrix) => (
              <ConfusionTable
                confusion={matrix}
                picked={cell}
                onPick={(label, predicted) =>
                  void navigate({ search: (old) => ({ ...old, label, predicted }), replace: true, resetScroll: false })
                }
              />
            )}
          </Loaded>
          <div style={{ flex: '1 1 260px', minWidth: 0 }}>
            {cell ? (
              <CellImages
                model={model}
                dataset={dataset}
                cell={cell}
                chosen={tests}
                onChoose={({ index }) => onTests(toggled(tests, index))}
              />
            ) : (
              <Empty>Choose a cell of the matrix, then the image that the model gets wrong.</Empty>
            )}
          </div>
        </div>
      )}
    </Stack>
  )
}
