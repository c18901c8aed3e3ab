// Why this image: its influence shift under each transform. A bar is the mean, a tick one query. Negative is collapse.
import type { Evidence } from '@/client'
import { score } from '@/lib/format'

export function ShiftStrip({ evidence }: { evidence: Evidence }) {
  const scale = Math.max(1e-12, ...evidence.shifts.map((s) => Math.abs(s.shift)))
  const place = (shift: number) => 50 + (50 * shift) / scale
  const rows = Object.entries(evidence.by_transform).sort(([, a], [, b]) => a - b)
  return (
    <div role="list" aria-label="Influence shift by transform">
      {rows.map(([transform, mean]) => {
        const at = place(mean)
        return (
          <div className="shift-row" role="listitem" key={transform}>
            <span>{transform.replaceAll('_', ' ')}</span>
            <span className="shift-track">
              <span
                className="shift-bar"
                style={{
                  left: `${Math.min(50, at)}%`,
                  width: `${Math.abs(at - 50)}%`,
                  background: mean < 0 ? 'var(--poison)' : 'var(--affected)',
                }}
              />
              {evidence.shifts
                .filter((s) => s.transform === transform)
                .map((s) => (
                  <span
                    key={`${s.affected}-${s.query}`}
                    title={`query ${s.query}: ${score(s.shift)}`}
                    style={{
                      position: 'absolute',
                      left: `${place(s.shift)}%`,
                      top: -1,
                      bottom: -1,
                      width: 1,
                      background: 'var(--mantine-color-text)',
                      opacity: 0.55,
                    }}
                  />
                ))}
            </span>
            <span className="number">{score(mean)}</span>
          </div>
        )
      })}
    </div>
  )
}
