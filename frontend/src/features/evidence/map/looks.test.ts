import { expect, test } from 'vitest'
import type { CaseColumns } from '@/lib/columns'
import { drawingOrder, dress, labelColour, scoreRange, viridis } from './looks'
import { DIM, SELECTED, shape } from './point-layer'

const n = 4
const columns = {
  n,
  index: Int32Array.from([0, 1, 2, 3]),
  label: Int32Array.from([0, 1, 1, 9]),
  collapse_score: Float32Array.from([5, 0.1, 0.9, 0.5]),
  posterior: Float32Array.from([0, 0.2, 1, 0.5]),
  suspect: Uint8Array.from([0, 1, 1, 1]),
} as unknown as CaseColumns

test('suspects are drawn over the others, the most suspicious on top', () => {
  expect([...drawingOrder(columns)]).toEqual([0, 1, 3, 2])
})

test('scores run over viridis from the least to the greatest suspect; others are grey', () => {
  expect(scoreRange(columns)).toEqual([expect.closeTo(0.1), expect.closeTo(0.9)])
  const { colours } = dress(columns, 'score', new Map(), new Set(), Uint8Array.from([1, 1, 1, 1]))
  const at = (row: number) => [...colours.subarray(4 * row, 4 * row + 3)]
  expect(at(1)).toEqual([68, 1, 84])
  expect(at(2)).toEqual([253, 231, 37])
  expect(at(0)).toEqual([141, 146, 150])
  expect(viridis(0.5)).toEqual([33, 144, 141])
})

test('a verdict has a colour and a shape; selected and filtered images are told apart', () => {
  const verdicts = new Map([
    [1, 'poison'],
    [2, 'unsure'],
  ] as const)
  const { colours, looks } = dress(columns, 'verdict', verdicts, new Set([1]), Uint8Array.from([0, 1, 0, 1]))
  expect([...looks]).toEqual([shape.dot | DIM, shape.diamond | SELECTED, shape.half | DIM, shape.ring])
  expect([...colours.subarray(4, 7)]).toEqual([213, 94, 0])
  expect(labelColour(8)).toEqual(labelColour(0).map((c) => c >> 1))
})
