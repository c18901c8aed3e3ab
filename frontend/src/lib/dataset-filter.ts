// Which images of a data set pass the filters of its page; all of it on columns, so that a million images take no request.
import { type DatasetColumns, filterRows, type PredictionColumns } from './columns'

export interface DatasetFilter {
  split?: 'train' | 'test'
  label?: number
  show?: 'converted' | 'duplicates' | 'other_label'
  /** Of the original file: "32x32". */
  size?: string
  /** What the model says of a test image: "wrong", "right", or the number of a class. */
  says?: string
}

const MOST_SIZES = 50

/** The sizes that originals have, most frequent first. */
export function sizesOf(table: DatasetColumns): { size: string; n: number }[] {
  const counts = new Map<number, number>()
  for (let row = 0; row < table.n; row++) {
    const key = table.width[row] * 65_536 + table.height[row]
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return [...counts]
    .sort((a, b) => b[1] - a[1])
    .slice(0, MOST_SIZES)
    .map(([key, n]) => ({ size: `${Math.floor(key / 65_536)}x${key % 65_536}`, n }))
}

/** For every row of the data set what the model says of it; -1 where that is not known. */
export function predictedOf(table: DatasetColumns, predictions: PredictionColumns): Int32Array {
  const last = table.n > 0 ? table.index[table.n - 1] : -1
  const byIndex = new Int32Array(Math.max(last + 1, 0)).fill(-1)
  for (let i = 0; i < predictions.n; i++) byIndex[predictions.index[i]] = predictions.predicted[i]
  const found = new Int32Array(table.n)
  for (let row = 0; row < table.n; row++) found[row] = byIndex[table.index[row]]
  return found
}

/** `index` of the images that pass, in order. predicted: of each row, where a model was chosen. */
export function matching(table: DatasetColumns, filter: DatasetFilter, predicted: Int32Array | null): Int32Array {
  const { split, label, show, says } = filter
  const isTest = split === undefined ? -1 : Number(split === 'test')
  const least = show === 'other_label' ? 2 : 1
  const [width, height] = filter.size?.split('x').map(Number) ?? []
  const rows = filterRows(
    table.n,
    (row) =>
      (isTest < 0 || table.split[row] === isTest) &&
      (label === undefined || table.label[row] === label) &&
      (show === undefined || (show === 'converted' ? table.converted[row] === 1 : table.duplicate[row] >= least)) &&
      (width === undefined || (table.width[row] === width && table.height[row] === height)) &&
      (says === undefined || predicted === null || isSaid(says, predicted[row], table.label[row])),
  )
  return rows.map((row) => table.index[row])
}

function isSaid(says: string, predicted: number, label: number): boolean {
  if (predicted < 0) return false
  if (says === 'wrong' || says === 'right') return (predicted === label) === (says === 'right')
  return predicted === Number(says)
}
