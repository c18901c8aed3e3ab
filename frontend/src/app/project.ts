// Which project the navigation speaks of: the one in the address, else that of the open case, else the last one used.
import { useQuery } from '@tanstack/react-query'
import { useParams } from '@tanstack/react-router'
import { useEffect } from 'react'
import type { Project } from '@/client'
import { q } from '@/lib/queries'

const memory = 'orfila-project'

export function useProject(): { project: Project | undefined; projects: Project[] } {
  const params = useParams({ strict: false })
  const projects = useQuery(q.projects()).data ?? []
  const openCase = useQuery({ ...q.case(params.caseId ?? ''), enabled: params.caseId !== undefined }).data
  const id = params.projectId ?? openCase?.project_id
  useEffect(() => {
    if (id) localStorage.setItem(memory, id)
  }, [id])
  const wanted = id ?? localStorage.getItem(memory)
  return { project: projects.find((p) => p.id === wanted) ?? projects[0], projects }
}
