// How many training images a removal set holds, counted from scores and verdicts as the server does.
import type { CaseColumns } from '@/lib/columns'
import type { VerdictValue } from '@/lib/verdicts'

export type RemovalKind = 'flagged' | 'poison_verdicts' | 'threshold'

export function countRemoval(
  columns: CaseColumns,
  verdicts: ReadonlyMap<number, VerdictValue>,
  kind: RemovalKind,
  threshold: number,
): number {
  let n = 0
  for (let row = 0; row < columns.n; row++) {
    const verdict = verdicts.get(columns.index[row])
    const automatic =
      kind === 'flagged'
        ? columns.flagged[row] === 1
        : kind === 'threshold'
          ? columns.suspect[row] === 1 && columns.posterior[row] > threshold
          : false
    if (verdict === 'poison' || (automatic && verdict !== 'clean')) n++
  }
  return n
}
