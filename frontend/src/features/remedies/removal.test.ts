import { expect, test } from 'vitest'
import type { CaseColumns } from '@/lib/columns'
import { countRemoval } from './removal'

const columns = {
  n: 4,
  index: Int32Array.from([0, 1, 2, 3]),
  flagged: Uint8Array.from([1, 1, 0, 0]),
  suspect: Uint8Array.from([1, 1, 1, 0]),
  posterior: Float32Array.from([1, 0.95, 0.6, 0.99]),
} as unknown as CaseColumns
const verdicts = new Map([
  [0, 'clean' as const],
  [3, 'poison' as const],
])

test('clean verdicts leave the set, poison verdicts join it, only suspects pass a threshold', () => {
  expect(countRemoval(columns, new Map(), 'flagged', 0)).toBe(2)
  expect(countRemoval(columns, verdicts, 'flagged', 0)).toBe(2)
  expect(countRemoval(columns, verdicts, 'poison_verdicts', 0)).toBe(1)
  expect(countRemoval(columns, new Map(), 'threshold', 0.5)).toBe(3)
})
