// The confusion matrix as a heat map whose cells are buttons: a cell lists its test images.
import { useComputedColorScheme } from '@mantine/core'
import type { ConfusionMatrix } from '@/client'
import { count, share } from '@/lib/format'

/** Share of its row as a colour; errors warm, the diagonal calm. Text keeps a contrast of 4.5:1. */
function shade(part: number, correct: boolean, dark: boolean): { background: string; color: string } {
  const strength = Math.sqrt(part)
  const alpha = correct ? 0.08 + 0.5 * strength : Math.min(0.85, 0.12 + 1.2 * strength)
  const base = correct ? '0, 114, 178' : '213, 94, 0'
  const strong = alpha > 0.62
  return { background: `rgba(${base}, ${alpha})`, color: strong ? (dark ? '#fff' : '#1b1e21') : 'inherit' }
}

export function ConfusionTable({
  confusion,
  picked,
  onPick,
}: {
  confusion: ConfusionMatrix
  picked: { label: number; predicted: number } | null
  onPick: (label: number, predicted: number) => void
}) {
  const dark = useComputedColorScheme('light') === 'dark'
  const { classes, matrix } = confusion
  return (
    <div style={{ overflowX: 'auto' }}>
      <table className="matrix">
        <caption className="quiet" style={{ captionSide: 'bottom', textAlign: 'left', fontSize: 12, paddingTop: 8 }}>
          Rows: true label. Columns: predicted label. Orange: wrong. Choose a cell to see its images.
        </caption>
        <thead>
          <tr>
            <td />
            {classes.map((name) => (
              <th key={name} scope="col" className="column-name">
                <span>{name}</span>
              </th>
            ))}
            <th scope="col" className="column-name">
              <span>recall</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {matrix.map((row, label) => {
            const total = row.reduce((a, b) => a + b, 0)
            return (
              <tr key={classes[label]}>
                <th scope="row" className="row-name">
                  {classes[label]}
                </th>
                {row.map((n, predicted) => (
                  <td key={classes[predicted]}>
                    <button
                      type="button"
                      disabled={n === 0}
                      aria-pressed={picked?.label === label && picked.predicted === predicted}
                      aria-label={`${n} images of ${classes[label]} predicted as ${classes[predicted]}`}
                      style={n > 0 ? shade(n / total, label === predicted, dark) : undefined}
                      onClick={() => onPick(label, predicted)}
                    >
                      {n > 0 ? count(n) : ''}
                    </button>
                  </td>
                ))}
                <td className="number quiet" style={{ paddingLeft: 8 }}>
                  {total > 0 ? share(row[label] / total) : '–'}
                </td>
              </tr>
            )
          })}
        </tbody>
      </table>
    </div>
  )
}
