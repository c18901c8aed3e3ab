// What the workbench shows, as its address says it: a link or a saved view is this and nothing more.
import { useNavigate } from '@tanstack/react-router'
import { useCallback } from 'react'
import { compact, number, oneOf } from '@/lib/search'

export const readView = (raw: Record<string, unknown>) =>
  compact({
    tab: oneOf(['flagged', 'all', 'selected'])(raw, 'tab'),
    sort: oneOf([
      'posterior',
      'informative',
      'collapse_score',
      'shift_mean',
      'influence',
      'self_influence',
      'mark_score',
      'index',
    ])(raw, 'sort'),
    axis: oneOf(['collapse_score', 'shift_mean', 'posterior', 'mark_score'])(raw, 'axis'),
    label: number(raw, 'label'),
    verdict: oneOf(['poison', 'clean', 'unsure', 'none'])(raw, 'verdict'),
    map: oneOf(['pca', 'umap'])(raw, 'map'),
    colour: oneOf(['score', 'label', 'verdict'])(raw, 'colour'),
    view: oneOf(['histogram', 'map', 'transforms'])(raw, 'view'),
    t: number(raw, 't'),
    from: number(raw, 'from'),
    to: number(raw, 'to'),
    i: number(raw, 'i'),
    zoom: number(raw, 'zoom'),
  })

export type View = ReturnType<typeof readView>
export type SetView = (change: View) => void

/** Changes what is named and leaves the rest of the view; the page before stays one step back in the history. */
export function useSetView(): SetView {
  const navigate = useNavigate({ from: '/c/$caseId/evidence' })
  return useCallback(
    (change) => void navigate({ search: (old) => compact({ ...old, ...change }), replace: true, resetScroll: false }),
    [navigate],
  )
}
