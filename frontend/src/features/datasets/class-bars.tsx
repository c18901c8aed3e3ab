// How many images each class has, in both splits.
import { useComputedColorScheme } from '@mantine/core'
import { useMemo } from 'react'
import type { Dataset } from '@/client'
import { Plot } from '@/components/plot'

export function ClassBars({ dataset, height = 196 }: { dataset: Dataset; height?: number }) {
  const dark = useComputedColorScheme('light') === 'dark'
  const data = useMemo(
    () => [
      {
        type: 'bar',
        name: 'training',
        x: dataset.classes,
        y: dataset.counts.train ?? [],
        marker: { color: dark ? '#56b4e9' : '#0072b2' },
        hovertemplate: '%{x}: %{y:,} training images<extra></extra>',
      },
      {
        type: 'bar',
        name: 'test',
        x: dataset.classes,
        y: dataset.counts.test ?? [],
        marker: { color: dark ? '#6b7176' : '#b4b8bb' },
        hovertemplate: '%{x}: %{y:,} test images<extra></extra>',
      },
    ],
    [dataset, dark],
  )
  const layout = useMemo(
    () => ({
      barmode: 'group',
      bargap: 0.3,
      legend: { orientation: 'h', x: 1, xanchor: 'right', y: 1.16 },
      xaxis: { type: 'category', fixedrange: true, showgrid: false },
      yaxis: { title: { text: 'images' }, fixedrange: true },
    }),
    [],
  )
  return <Plot data={data} layout={layout} height={height} label="Images of each class, training and test" />
}
