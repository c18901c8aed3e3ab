// Ctrl K: go anywhere by name. Places, and the cases, models and data sets of the project.
import { useMantineColorScheme } from '@mantine/core'
import { Spotlight, type SpotlightActionData, type SpotlightActionGroupData } from '@mantine/spotlight'
import { useQuery } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { type KeyboardEvent, useMemo, useState } from 'react'
import { q } from '@/lib/queries'
import { useProject } from './project'

const MOST_SHOWN = 12

/** Spotlight chooses the first action when one types, and not when the lists come in after that: Enter would do nothing. */
function chooseFirst(event: KeyboardEvent) {
  if (event.key !== 'Enter' || document.querySelector('[data-action][data-selected]')) return
  document.querySelector('[data-action]')?.setAttribute('data-selected', 'true')
}

export function Palette() {
  const navigate = useNavigate()
  const { project, projects } = useProject()
  const { setColorScheme } = useMantineColorScheme()
  const [opened, setOpened] = useState(false)
  const id = project?.id ?? ''
  const wanted = { enabled: opened && project !== undefined }
  const cases = useQuery({ ...q.cases(id), ...wanted }).data?.items
  const models = useQuery({ ...q.models(id), ...wanted }).data?.items
  const datasets = useQuery({ ...q.datasets(id), ...wanted }).data?.items

  const actions = useMemo((): SpotlightActionGroupData[] => {
    const params = { projectId: id }
    const place = (label: string, go: () => unknown, keywords: string[] = []): SpotlightActionData => ({
      id: `place ${label}`,
      label,
      keywords,
      onClick: () => void go(),
    })
    const places = [
      place('Inbox', () => navigate({ to: '/' }), ['home', 'start']),
      ...(project
        ? [
            place('Cases', () => navigate({ to: '/p/$projectId/cases', params })),
            place('New case', () => navigate({ to: '/p/$projectId/cases/new', params }), ['investigate', 'open']),
            place('Data sets', () => navigate({ to: '/p/$projectId/datasets', params }), ['upload']),
            place('Models', () => navigate({ to: '/p/$projectId/models', params }), ['upload']),
            place('Uploads', () => navigate({ to: '/p/$projectId/uploads', params })),
            place('Drills', () => navigate({ to: '/p/$projectId/drills', params }), ['plant', 'attack']),
            place('Sweeps', () => navigate({ to: '/p/$projectId/sweeps', params }), ['scan']),
            place('Members', () => navigate({ to: '/p/$projectId/members', params }), ['webhooks', 'people']),
          ]
        : []),
      place('Jobs', () => navigate({ to: '/jobs' }), ['queue', 'workers']),
      place('Settings', () => navigate({ to: '/settings/profile' }), ['profile', 'tokens', 'password']),
      place('Light theme', () => setColorScheme('light'), ['bright']),
      place('Dark theme', () => setColorScheme('dark'), ['night']),
    ]
    const things = (group: string, items: { id: string; name: string }[] | undefined, go: (id: string) => unknown) => ({
      group,
      actions: (items ?? []).map((item) => ({
        id: `${group} ${item.id}`,
        label: item.name,
        description: group === 'Cases' ? 'case' : group === 'Models' ? 'model' : 'data set',
        onClick: () => void go(item.id),
      })),
    })
    return [
      { group: 'Go to', actions: places },
      things('Cases', cases, (caseId) => navigate({ to: '/c/$caseId', params: { caseId } })),
      things('Models', models, (modelId) =>
        navigate({ to: '/p/$projectId/models/$modelId', params: { ...params, modelId } }),
      ),
      things('Data sets', datasets, (datasetId) =>
        navigate({ to: '/p/$projectId/datasets/$datasetId', params: { ...params, datasetId } }),
      ),
      ...(projects.length > 1
        ? [things('Projects', projects, (projectId) => navigate({ to: '/p/$projectId/cases', params: { projectId } }))]
        : []),
    ].filter((group) => group.actions.length > 0)
  }, [id, project, projects, cases, models, datasets, navigate, setColorScheme])

  return (
    <Spotlight
      actions={actions}
      shortcut={['mod + K']}
      limit={MOST_SHOWN}
      highlightQuery
      nothingFound="Nothing has this name."
      searchProps={{ placeholder: 'Go to…', 'aria-label': 'Go to', onKeyDown: chooseFirst }}
      transitionProps={{ duration: 0 }}
      overlayProps={{ blur: 0, backgroundOpacity: 0.4 }}
      onSpotlightOpen={() => setOpened(true)}
    />
  )
}
