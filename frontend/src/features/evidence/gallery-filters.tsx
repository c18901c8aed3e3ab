// Which images the gallery shows and in which order: tabs, class, verdict and sort.
import { Select } from '@mantine/core'
import { memo } from 'react'
import { TabList } from '@/components/tab-list'
import { count } from '@/lib/format'
import type { Sort } from './order'
import type { SetView, View } from './view'

const sorts: { value: Sort; label: string }[] = [
  { value: 'posterior', label: 'Posterior' },
  { value: 'informative', label: 'Most informative' },
  { value: 'collapse_score', label: 'Collapse score' },
  { value: 'shift_mean', label: 'Influence shift' },
  { value: 'influence', label: 'Influence' },
  { value: 'self_influence', label: 'Self-influence' },
  { value: 'mark_score', label: 'Mark score' },
  { value: 'index', label: 'Index' },
]
const verdicts = [
  { value: '', label: 'Any verdict' },
  { value: 'none', label: 'Not judged' },
  { value: 'poison', label: 'Poison' },
  { value: 'clean', label: 'Clean' },
  { value: 'unsure', label: 'Unsure' },
]

export type Tab = NonNullable<View['tab']>
export const tabName: Record<Tab, string> = { flagged: 'Flagged', all: 'All', selected: 'Selected' }
const tabNames = Object.keys(tabName) as Tab[]

export const GalleryFilters = memo(function GalleryFilters({
  classes,
  nFlagged,
  nAll,
  nSelected,
  tab,
  label,
  verdict,
  sort,
  hasMark,
  set,
}: {
  classes: string[]
  nFlagged: number
  nAll: number
  nSelected: number
  tab: Tab
  label: number | undefined
  verdict: View['verdict']
  sort: Sort
  hasMark: boolean
  set: SetView
}) {
  const counts: Record<Tab, number> = { flagged: nFlagged, all: nAll, selected: nSelected }
  return (
    <>
      <TabList
        name="Which images"
        tabs={tabNames.map((name) => ({ value: name, text: `${tabName[name]} ${count(counts[name])}` }))}
        chosen={tab}
        onChoose={(value) => set({ tab: value })}
      />
      <Select
        aria-label="Class"
        size="xs"
        w={126}
        searchable
        data={[{ value: '', label: 'All classes' }, ...classes.map((name, i) => ({ value: String(i), label: name }))]}
        value={label === undefined ? '' : String(label)}
        onChange={(value) => set({ label: value ? Number(value) : undefined })}
      />
      <Select
        aria-label="Verdict"
        size="xs"
        w={120}
        data={verdicts}
        value={verdict ?? ''}
        onChange={(value) => set({ verdict: (value || undefined) as View['verdict'] })}
      />
      <Select
        aria-label="Sort by"
        size="xs"
        w={136}
        data={hasMark ? sorts : sorts.filter((s) => s.value !== 'mark_score')}
        value={sort}
        onChange={(value) => set({ sort: value as Sort })}
      />
    </>
  )
})
