// The frame of a case: name, state, the places of the case, and the screen of the place below.
import { useQuery } from '@tanstack/react-query'
import { Link, Outlet, useLocation, useMatchRoute, useParams } from '@tanstack/react-router'
import { CopyMenu } from '@/components/copy'
import { TitleRow } from '@/components/page'
import { Loaded } from '@/components/states'
import { StateChip } from '@/components/status'
import { Tour } from '@/features/tour/tour'
import { q } from '@/lib/queries'
import { placeOfCase } from '@/lib/snippets'
import { Presence } from './presence'

const places = [
  ['/c/$caseId', 'Finding'],
  ['/c/$caseId/evidence', 'Evidence'],
  ['/c/$caseId/compare', 'Compare'],
  ['/c/$caseId/review', 'Review'],
  ['/c/$caseId/repair', 'Repair'],
  ['/c/$caseId/verify', 'Verify'],
  ['/c/$caseId/activity', 'Activity'],
  ['/c/$caseId/report', 'Report'],
] as const

const busy = new Set(['scoring', 'repairing'])

export function CaseFrame() {
  const { caseId } = useParams({ from: '/app/c/$caseId' })
  const matches = useMatchRoute()
  const query = useQuery({
    ...q.case(caseId),
    refetchInterval: (state) => (busy.has(state.state.data?.state ?? '') ? 2000 : false),
  })
  const full = Boolean(matches({ to: '/c/$caseId/evidence' }))
  const { pathname, search } = useLocation()
  const place = pathname.split('/')[3] ?? ''
  return (
    <div className={full ? 'page-full' : 'page'}>
      <Loaded query={query}>
        {(item) => (
          <>
            <TitleRow
              title={item.name}
              chip={
                <>
                  <StateChip state={item.state} />
                  <nav className="tabs" aria-label="Places of the case">
                    {places.map(([to, name]) => (
                      <Link
                        key={to}
                        to={to}
                        params={{ caseId }}
                        className="tab"
                        activeOptions={{ exact: true, includeSearch: false }}
                      >
                        {name}
                      </Link>
                    ))}
                  </nav>
                </>
              }
            >
              <Presence caseId={caseId} />
              <CopyMenu path={placeOfCase(caseId, place, search)} />
              <NextAction caseId={caseId} state={item.state} hasFinding={item.finding !== null} />
            </TitleRow>
            <Tour item={item} place={place} />
            <Outlet />
          </>
        )}
      </Loaded>
    </div>
  )
}

/** The one thing to do next, depending on where the case stands and where one is. */
function NextAction({ caseId, state, hasFinding }: { caseId: string; state: string; hasFinding: boolean }) {
  const matches = useMatchRoute()
  const at = (to: string) => Boolean(matches({ to: to as '/c/$caseId' }))
  if (!hasFinding) return null
  const verified = state === 'verified' || state === 'regressed'
  const [to, name] = verified
    ? (['/c/$caseId/verify', 'See the proof'] as const)
    : at('/c/$caseId')
      ? (['/c/$caseId/evidence', 'Review evidence'] as const)
      : (['/c/$caseId/repair', 'Repair the model'] as const)
  if (at(to)) return null
  return (
    <Link to={to} params={{ caseId }} className="mantine-focus-auto primary-link">
      {name}
    </Link>
  )
}
