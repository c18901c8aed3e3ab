// Why an image is flagged or not: its shifts query by query, and its numbers.
import { Skeleton } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { memo, type ReactNode } from 'react'
import type { Case, Dataset } from '@/client'
import { HowObtained } from '@/components/derived'
import { Facts } from '@/components/page'
import { Loaded } from '@/components/states'
import { address } from '@/lib/api'
import { count, score, share } from '@/lib/format'
import { q } from '@/lib/queries'
import { ShiftStrip } from './shift-strip'

const mono = (key: string, value: string): [string, ReactNode] => [
  key,
  <span key={key} className="mono">
    {value}
  </span>,
]

export const Why = memo(function Why({ item, dataset, index }: { item: Case; dataset: Dataset; index: number }) {
  const query = useQuery({ ...q.evidence(item.id, index), placeholderData: (old) => old })
  const twins = useQuery(q.image(dataset.id, index)).data?.twins ?? []
  return (
    <div style={{ opacity: query.isPlaceholderData ? 0.5 : 1 }}>
      <Loaded query={query} skeleton={<Skeleton height={320} />}>
        {({ row, rank, shifts, label_name, ...evidence }) => (
          <>
            <h2 className="inspector-title">
              Why this image?
              <HowObtained what="the influence shift">
                Influence of this training image on the transformed affected image minus that on the affected image
                itself. Strongly negative under transforms that break the trigger: influence collapse. A bar is the mean
                of a transform, a tick one query.
              </HowObtained>
            </h2>
            <ShiftStrip evidence={{ row, rank, shifts, label_name, ...evidence }} />
            <div style={{ marginTop: 12 }}>
              <Facts
                items={[
                  mono('Posterior', share(row.posterior)),
                  ['Rank', `${count(rank)} of ${count(dataset.n_train)}`],
                  ['Flagged', row.flagged ? 'yes' : row.suspect ? 'no' : 'no, not a suspect'],
                  [
                    'Paper rule',
                    `${row.n_collapsed} of ${shifts.length} shifts negative${row.flagged_paper ? ': flagged' : ''}`,
                  ],
                  ['Label', label_name],
                  mono('Collapse score', score(row.collapse_score)),
                  ...(item.finding?.mark ? [mono('Mark score', score(row.mark_score))] : []),
                  mono('Mean shift', score(row.shift_mean)),
                  mono('Influence', score(row.influence)),
                  mono('Self-influence', score(row.self_influence)),
                  mono('File', row.name),
                  ...(twins.length > 0 ? [mono('Same bytes', `also ${twins.join(', ')}`)] : []),
                ]}
              />
            </div>
            <p style={{ margin: '12px 0 0' }}>
              <a href={address.original(dataset.id, index)} download>
                Original file
              </a>
            </p>
          </>
        )}
      </Loaded>
    </div>
  )
})
