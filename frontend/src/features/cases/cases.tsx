// The cases of a project, by where they stand.
import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useParams, useSearch } from '@tanstack/react-router'
import type { Case } from '@/client'
import { CopyMenu } from '@/components/copy'
import { CaseIcon } from '@/components/icons'
import { TitleRow } from '@/components/page'
import { Empty, Loaded } from '@/components/states'
import { q } from '@/lib/queries'
import { CasesTable } from './cases-table'

const tabs = {
  open: { name: 'Open', states: ['scoring', 'in_review', 'failed'] },
  repairing: { name: 'Repairing', states: ['repairing'] },
  verified: { name: 'Verified', states: ['verified'] },
  regressed: { name: 'Regressed', states: ['regressed'] },
  archived: { name: 'Archived', states: ['archived'] },
} as const satisfies Record<string, { name: string; states: readonly Case['state'][] }>

export function CasesScreen() {
  const { projectId } = useParams({ from: '/app/p/$projectId/cases' })
  const { tab } = useSearch({ from: '/app/p/$projectId/cases' })
  const query = useQuery(q.cases(projectId))
  const all = query.data?.items ?? []
  const within = (states: readonly string[]) => all.filter((c) => states.includes(c.state))
  const keys = Object.keys(tabs) as (keyof typeof tabs)[]
  const current = tab ?? keys.find((k) => within(tabs[k].states).length > 0) ?? 'open'
  const newCase = (
    <Button renderRoot={(props) => <Link to="/p/$projectId/cases/new" params={{ projectId }} {...props} />}>
      New case
    </Button>
  )
  return (
    <div className="page">
      <TitleRow
        title="Cases"
        chip={
          <nav className="tabs" aria-label="Cases by state">
            {keys.map((key) => (
              <Link
                key={key}
                to="/p/$projectId/cases"
                params={{ projectId }}
                search={{ tab: key }}
                className="tab"
                data-status={key === current ? 'active' : 'inactive'}
                aria-current={key === current ? 'page' : undefined}
              >
                {tabs[key].name} <span className="quiet">{within(tabs[key].states).length || ''}</span>
              </Link>
            ))}
          </nav>
        }
      >
        <CopyMenu path={`/api/v1/projects/${projectId}/cases`} />
        {newCase}
      </TitleRow>
      <section className="panel">
        <Loaded query={query}>
          {() => {
            const shown = within(tabs[current].states)
            return shown.length > 0 ? (
              <CasesTable cases={shown} />
            ) : (
              <Empty icon={<CaseIcon />} action={all.length === 0 ? newCase : undefined}>
                {all.length === 0
                  ? 'No case yet. A case starts from an image that a model gets wrong in a suspicious way.'
                  : `No case is ${tabs[current].name.toLowerCase()}.`}
              </Empty>
            )
          }}
        </Loaded>
      </section>
    </div>
  )
}
