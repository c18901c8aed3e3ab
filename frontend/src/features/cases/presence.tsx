// Who else looks at this case right now.
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useEffect } from 'react'
import { leaveCase } from '@/client'
import { q } from '@/lib/queries'

/** At most this many names are shown. */
const SHOWN = 3

export function Presence({ caseId }: { caseId: string }) {
  const queries = useQueryClient()
  const others = useQuery(q.presence(caseId)).data?.others ?? []
  useEffect(() => {
    const leave = () => void leaveCase({ path: { case_id: caseId }, keepalive: true })
    window.addEventListener('pagehide', leave)
    return () => {
      window.removeEventListener('pagehide', leave)
      leave()
      queries.removeQueries({ queryKey: ['presence', caseId] })
    }
  }, [caseId, queries])
  if (others.length === 0) return null
  const more = others.length - SHOWN
  return (
    <span className="quiet" role="status" aria-label="Also here" title={others.join(', ')}>
      also here: {others.slice(0, SHOWN).join(', ')}
      {more > 0 && ` and ${more} more`}
    </span>
  )
}
