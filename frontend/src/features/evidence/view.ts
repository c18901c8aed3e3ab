// What the workbench shows, as its address says it: a link or a saved view is this and nothing more.
import { useNavigate } from '@tanstack/react-router'
import { useMemo } from 'react'
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

/** A view without what belongs to one case: the image in focus and the moved threshold. */
export function keptOf({ i: _focused, t: _threshold, ...kept }: View): Record<string, string | number> {
  return compact(kept) as Record<string, string | number>
}

/** Changes what is named and leaves the rest of the view; `open` a kept one: what it does not name is as at first. */
export function useSetView(): { set: SetView; open: (kept: Record<string, unknown>) => void } {
  const navigate = useNavigate({ from: '/c/$caseId/evidence' })
  return useMemo(() => {
    const go = (next: (old: View) => View) =>
      void navigate({ search: (old) => compact(next(old)), replace: true, resetScroll: false })
    return {
      set: (change) => go((old) => ({ ...old, ...change })),
      open: (kept) => go((old) => ({ i: old.i, t: old.t, ...keptOf(readView(kept)) })),
    }
  }, [navigate])
}
