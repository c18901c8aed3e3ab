// The frame of the application: navigation on the left, the screen on the right, live events underneath.
import { ActionIcon, Group, Select, Tooltip, useComputedColorScheme, useMantineColorScheme } from '@mantine/core'
import { spotlight } from '@mantine/spotlight'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, Outlet, useLocation, useNavigate } from '@tanstack/react-router'
import { useEffect, useState } from 'react'
import { signOut } from '@/client'
import {
  BrandMark,
  CaseIcon,
  DatasetIcon,
  DrillIcon,
  GoIcon,
  InboxIcon,
  JobIcon,
  ModelIcon,
  MoonIcon,
  PeopleIcon,
  SettingsIcon,
  SignOutIcon,
  SunIcon,
  SweepIcon,
  UploadIcon,
} from '@/components/icons'
import { useUnread } from '@/features/talk/notifications'
import { body } from '@/lib/api'
import { q } from '@/lib/queries'
import { useLiveEvents } from './live-events'
import { Palette } from './palette'
import { useProject } from './project'

function ThemeSwitch() {
  const { setColorScheme } = useMantineColorScheme()
  const dark = useComputedColorScheme('light') === 'dark'
  const label = dark ? 'Light theme' : 'Dark theme'
  return (
    <Tooltip label={label}>
      <ActionIcon
        variant="subtle"
        color="gray"
        aria-label={label}
        onClick={() => setColorScheme(dark ? 'light' : 'dark')}
      >
        {dark ? <SunIcon /> : <MoonIcon />}
      </ActionIcon>
    </Tooltip>
  )
}

function SignOut() {
  const queries = useQueryClient()
  const leave = useMutation({
    mutationFn: () => body(signOut()),
    onSuccess: () => {
      queries.clear()
      window.location.assign('/signin')
    },
  })
  return (
    <Tooltip label="Sign out">
      <ActionIcon variant="subtle" color="gray" aria-label="Sign out" onClick={() => leave.mutate()}>
        <SignOutIcon />
      </ActionIcon>
    </Tooltip>
  )
}

function Navigation() {
  const { project, projects } = useProject()
  const navigate = useNavigate()
  const session = useQuery(q.session()).data
  const active = useQuery({ ...q.activeJobs(), refetchInterval: 15_000 }).data?.items.length ?? 0
  const unread = useUnread()
  const params = { projectId: project?.id ?? '' }
  return (
    <nav className="nav" aria-label="Main">
      <Link to="/" className="nav-brand">
        <BrandMark /> Orfila
      </Link>
      <Link to="/" className="nav-link" activeOptions={{ exact: true }}>
        <InboxIcon /> Inbox <span className="nav-count">{unread > 0 ? `${unread} new` : ''}</span>
      </Link>
      {project && (
        <>
          <div className="nav-section">Project</div>
          {projects.length > 1 ? (
            <Select
              aria-label="Project"
              size="xs"
              mx={8}
              mb={4}
              data={projects.map((p) => ({ value: p.id, label: p.name }))}
              value={project.id}
              onChange={(id) => id && navigate({ to: '/p/$projectId/cases', params: { projectId: id } })}
            />
          ) : (
            <div style={{ padding: '0 8px 4px', fontWeight: 600 }}>{project.name}</div>
          )}
          <Link to="/p/$projectId/datasets" params={params} className="nav-link">
            <DatasetIcon /> Data sets <span className="nav-count">{project.n_datasets || ''}</span>
          </Link>
          <Link to="/p/$projectId/models" params={params} className="nav-link">
            <ModelIcon /> Models <span className="nav-count">{project.n_models || ''}</span>
          </Link>
          <Link to="/p/$projectId/uploads" params={params} className="nav-link">
            <UploadIcon /> Uploads
          </Link>
          <Link to="/p/$projectId/cases" params={params} className="nav-link">
            <CaseIcon /> Cases <span className="nav-count">{project.n_cases || ''}</span>
          </Link>
          <Link to="/p/$projectId/drills" params={params} className="nav-link">
            <DrillIcon /> Drills <span className="nav-count">{project.n_drills || ''}</span>
          </Link>
          <Link to="/p/$projectId/sweeps" params={params} className="nav-link">
            <SweepIcon /> Sweeps <span className="nav-count">{project.n_sweeps || ''}</span>
          </Link>
          <Link to="/p/$projectId/members" params={params} className="nav-link">
            <PeopleIcon /> Members
          </Link>
        </>
      )}
      <button type="button" className="nav-link nav-search" onClick={() => spotlight.open()}>
        <GoIcon /> Go to… <kbd className="nav-count">Ctrl K</kbd>
      </button>
      <div className="nav-section">Workspace</div>
      <Link to="/jobs" className="nav-link">
        <JobIcon /> Jobs <span className="nav-count">{active > 0 ? `${active} running` : ''}</span>
      </Link>
      <Link to="/settings/profile" className="nav-link">
        <SettingsIcon /> Settings
      </Link>
      <Group gap={4} mt="auto" px={8} pt={12} wrap="nowrap">
        <span
          className="quiet"
          style={{ flex: 1, fontSize: 12, overflow: 'hidden', textOverflow: 'ellipsis', whiteSpace: 'nowrap' }}
        >
          {session?.user.name}
        </span>
        <ThemeSwitch />
        <SignOut />
      </Group>
    </nav>
  )
}

export function Shell() {
  useLiveEvents()
  // On a phone the navigation is a bar that opens, and closes again where it has led.
  const [menu, setMenu] = useState(false)
  const { pathname } = useLocation()
  // biome-ignore lint/correctness/useExhaustiveDependencies: another place closes the menu
  useEffect(() => setMenu(false), [pathname])
  return (
    <>
      <a href="#main" className="skip-link">
        Skip to the content
      </a>
      <Palette />
      <div className="shell" data-menu={menu || undefined}>
        <header className="nav-bar">
          <Link to="/" className="nav-brand">
            <BrandMark /> Orfila
          </Link>
          <button type="button" className="tab" aria-expanded={menu} onClick={() => setMenu(!menu)}>
            Menu
          </button>
        </header>
        <Navigation />
        <main className="main" id="main" tabIndex={-1}>
          <Outlet />
        </main>
      </div>
    </>
  )
}
