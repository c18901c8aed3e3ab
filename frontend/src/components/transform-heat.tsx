// The mean influence shift by transform: which transforms break the link between the image and its poison.
import { useQuery } from '@tanstack/react-query'
import { q } from '@/lib/queries'
import { Plot } from './plot'
import { Loaded } from './states'

export function TransformHeat({ caseId, result, height }: { caseId: string; result: string | null; height: number }) {
  const figure = useQuery(q.caseFigure(caseId, result, 'transform_heatmap'))
  return (
    <Loaded query={figure}>
      {(f) => <Plot data={f.data} layout={f.layout} height={height} label="Mean influence shift by transform" />}
    </Loaded>
  )
}
