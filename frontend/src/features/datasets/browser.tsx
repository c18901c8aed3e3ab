// Every image of a data set in a grid, with filters. What is shown is in the address.
import { Select } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useNavigate, useSearch } from '@tanstack/react-router'
import { useCallback, useEffect, useMemo, useState } from 'react'
import type { Dataset } from '@/client'
import { Gallery } from '@/components/gallery'
import { Empty, Loaded } from '@/components/states'
import { naturalZoom } from '@/lib/atlas'
import { rowOf } from '@/lib/columns'
import { matching, predictedOf, sizesOf } from '@/lib/dataset-filter'
import { className, count } from '@/lib/format'
import { isTyping, keyAction, movePlace } from '@/lib/keys'
import { q } from '@/lib/queries'
import { compact } from '@/lib/search'
import { ImageDetails } from './image-details'

const nobody: ReadonlySet<number> = new Set()

interface Option {
  value: string
  label: string
}

function Filter({
  name,
  options,
  value,
  width,
  onChange,
}: {
  name: string
  options: Option[]
  value: string | number | undefined
  width: number
  onChange: (value: string | undefined) => void
}) {
  return (
    <Select
      aria-label={name}
      size="xs"
      w={width}
      searchable={options.length > 12}
      allowDeselect={false}
      data={options}
      value={value === undefined ? '' : String(value)}
      onChange={(chosen) => onChange(chosen || undefined)}
    />
  )
}

export function Browser({ dataset }: { dataset: Dataset }) {
  const search = useSearch({ from: '/app/p/$projectId/datasets/$datasetId' })
  const navigate = useNavigate({ from: '/p/$projectId/datasets/$datasetId' })
  const set = useCallback(
    (change: Partial<typeof search>) =>
      void navigate({ search: (old) => compact({ ...old, ...change }), replace: true, resetScroll: false }),
    [navigate],
  )
  const query = useQuery(q.datasetColumns(dataset.id))
  const models = useQuery(q.models(dataset.project_id)).data?.items ?? []
  const predictors = models.filter((m) => m.state === 'ready' && m.dataset_id === dataset.id)
  const predictions = useQuery({ ...q.predictionColumns(search.model ?? ''), enabled: search.model !== undefined })
  const [columns, setColumns] = useState(1)
  const table = query.data
  const { split, label, show, size, model, says } = search
  const sizes = useMemo(() => (table ? sizesOf(table) : []), [table])
  const predicted = useMemo(
    () => (table && predictions.data && model !== undefined ? predictedOf(table, predictions.data) : null),
    [table, predictions.data, model],
  )
  const order = useMemo(
    () => (table ? matching(table, { split, label, show, size, says }, predicted) : new Int32Array()),
    [table, split, label, show, size, says, predicted],
  )
  const labelOf = useCallback(
    (index: number) => (table ? className(dataset.classes, table.label[rowOf(table.index, index)]) : ''),
    [dataset, table],
  )
  const pick = useCallback((index: number) => set({ i: index }), [set])
  const zoom = search.zoom ?? naturalZoom(dataset.atlas?.tile ?? 32)

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (isTyping(event.target) || order.length === 0) return
      const action = keyAction(event)
      if (action?.kind === 'move') {
        event.preventDefault()
        const place = search.i === undefined ? -1 : order.indexOf(search.i)
        set({ i: order[place < 0 ? 0 : movePlace(place, order.length, columns, action.by)] })
      } else if (action?.kind === 'zoom') {
        set({ zoom: Math.max(1, Math.min(6, zoom + action.step)) })
      } else if (action?.kind === 'clear') {
        set({ i: undefined })
      }
    }
    window.addEventListener('keydown', onKey)
    return () => window.removeEventListener('keydown', onKey)
  }, [order, columns, search.i, set, zoom])

  if (!dataset.atlas) return null
  const atlas = dataset.atlas
  const classOptions = dataset.classes.map((name, i) => ({ value: String(i), label: name }))
  return (
    <div className="columns" style={{ gridTemplateColumns: 'minmax(0, 1fr) 376px', alignItems: 'start' }}>
      <section className="panel panel-tight" style={{ display: 'flex', flexDirection: 'column', gap: 8, height: 620 }}>
        <div style={{ display: 'flex', flexWrap: 'wrap', gap: 12, alignItems: 'center' }}>
          <Filter
            name="Split"
            width={116}
            options={[
              { value: '', label: 'Both splits' },
              { value: 'train', label: 'Training' },
              { value: 'test', label: 'Test' },
            ]}
            value={split}
            onChange={(value) => set({ split: value as typeof split })}
          />
          <Filter
            name="Class"
            width={140}
            options={[{ value: '', label: 'All classes' }, ...classOptions]}
            value={label}
            onChange={(value) => set({ label: value === undefined ? undefined : Number(value) })}
          />
          <Filter
            name="What intake noticed"
            width={180}
            options={[
              { value: '', label: 'All images' },
              { value: 'converted', label: 'Converted' },
              { value: 'duplicates', label: 'Duplicates' },
              { value: 'other_label', label: 'Duplicates, other label' },
            ]}
            value={show}
            onChange={(value) => set({ show: value as typeof show })}
          />
          {sizes.length > 1 && (
            <Filter
              name="Size of the original"
              width={150}
              options={[
                { value: '', label: 'All sizes' },
                ...sizes.map((s) => ({ value: s.size, label: `${s.size.replace('x', ' × ')} (${count(s.n)})` })),
              ]}
              value={size}
              onChange={(value) => set({ size: value })}
            />
          )}
          {predictors.length > 0 && (
            <Filter
              name="Predictions of a model"
              width={170}
              options={[
                { value: '', label: 'No predictions' },
                ...predictors.map((m) => ({ value: m.id, label: m.name })),
              ]}
              value={model}
              onChange={(value) => set({ model: value, says: undefined })}
            />
          )}
          {model !== undefined && (
            <Filter
              name="What the model says of test images"
              width={170}
              options={[
                { value: '', label: 'Says anything' },
                { value: 'wrong', label: 'Another class' },
                { value: 'right', label: 'The labelled class' },
                ...classOptions.map((c) => ({ value: c.value, label: `Says ${c.label}` })),
              ]}
              value={says}
              onChange={(value) => set({ says: value })}
            />
          )}
          <span className="quiet" style={{ marginLeft: 'auto', fontSize: 12 }} role="status">
            {table ? `${count(order.length)} of ${count(table.n)} images` : ''}
          </span>
        </div>
        {model !== undefined && says !== undefined && (
          <span className="quiet" style={{ fontSize: 12 }}>
            A model's predictions are known of the test split, from its check.
          </span>
        )}
        <Loaded query={query}>
          {() =>
            order.length > 0 ? (
              <Gallery
                name="Images of the data set"
                datasetId={dataset.id}
                atlas={atlas}
                order={order}
                zoom={zoom}
                selected={nobody}
                focused={search.i ?? null}
                labelOf={labelOf}
                onPick={pick}
                onColumns={setColumns}
              />
            ) : (
              <Empty>No image passes these filters.</Empty>
            )
          }
        </Loaded>
      </section>
      {search.i === undefined ? (
        <section className="panel">
          <Empty>Choose an image to see the pixels that the model sees, and its original file.</Empty>
        </section>
      ) : (
        <ImageDetails
          dataset={dataset}
          index={search.i}
          predicted={table && predicted ? predicted[rowOf(table.index, search.i)] : undefined}
        />
      )}
    </div>
  )
}
