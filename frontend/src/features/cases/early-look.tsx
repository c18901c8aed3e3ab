// While a case is being scored: what the training images say that are looked at so far.
import { Text, useComputedColorScheme } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import type { Case, EarlyLook } from '@/client'
import { HowObtained } from '@/components/derived'
import { PixelImage } from '@/components/pixel-image'
import { Plot } from '@/components/plot'
import { axisTitle, groupColours } from '@/components/score-histogram'
import { address } from '@/lib/api'
import { count, plural, score } from '@/lib/format'
import { q } from '@/lib/queries'

function EarlyHistogram({ look }: { look: EarlyLook }) {
  const colours = groupColours[useComputedColorScheme('light')]
  const data = useMemo(() => {
    const width = look.edges[1] - look.edges[0]
    const bars = { type: 'bar', x: look.edges.slice(0, -1).map((edge) => edge + width / 2), width: width * 0.92 }
    const hover = '%{y:,} images<br>shift %{x:.3g}'
    return [
      {
        ...bars,
        name: 'other labels',
        y: look.rest,
        marker: { color: colours.rest },
        hovertemplate: `${hover}<extra>other labels</extra>`,
      },
      {
        ...bars,
        name: 'suspects',
        y: look.suspects,
        marker: { color: colours.suspect },
        hovertemplate: `${hover}<extra>suspects</extra>`,
      },
    ]
  }, [look, colours])
  const layout = useMemo(
    () => ({
      barmode: 'overlay',
      showlegend: true,
      legend: { orientation: 'h', x: 1, xanchor: 'right', y: 1.02, yanchor: 'bottom' },
      margin: { l: 52, r: 12, t: 28, b: 40 },
      xaxis: { title: { text: axisTitle.shift_mean }, fixedrange: true, zeroline: true },
      yaxis: { title: { text: 'images (log)' }, type: 'log', fixedrange: true, dtick: 1 },
    }),
    [],
  )
  return <Plot data={data} layout={layout} height={232} label={`Histogram of the ${axisTitle.shift_mean} so far`} />
}

export function EarlyLookPanel({ item }: { item: Case }) {
  const look = useQuery(q.early(item.id)).data
  if (!look) return null
  const whole = look.n_images === look.n_train
  return (
    <section aria-label="So far" style={{ marginTop: 20 }}>
      <h2 style={{ fontSize: 14, margin: '0 0 8px', display: 'flex', gap: 8, alignItems: 'center' }}>
        So far: {count(look.n_images)} of {plural(look.n_train, 'training image')}
        <HowObtained what="the early look">
          {whole
            ? 'By gradient fingerprints, while the exact engine is at work. '
            : 'The same influence shifts, with an inverse Fisher of the images that are done. They move a little as more come. '}
          Evidence and the flagged set need every suspect, and follow at the end.
        </HowObtained>
      </h2>
      <EarlyHistogram look={look} />
      {look.leading.length > 0 && (
        <>
          <Text size="sm" mt={12} mb={8}>
            The most suspicious so far, of {plural(look.n_suspects, 'suspect')}, with their collapse scores
          </Text>
          <div style={{ display: 'flex', gap: 12, flexWrap: 'wrap' }}>
            {look.leading.map((image) => (
              <figure key={image.index} style={{ margin: 0 }}>
                <PixelImage
                  src={address.pixels(item.dataset_id, image.index)}
                  alt={`Training image ${image.index}`}
                  size={64}
                />
                <figcaption className="mono" style={{ fontSize: 12, marginTop: 4 }}>
                  {score(image.collapse_score)}
                </figcaption>
              </figure>
            ))}
          </div>
        </>
      )}
    </section>
  )
}
