// Every screen and its address. A screen's code is loaded when it is first opened.
import type { QueryClient } from '@tanstack/react-query'
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  redirect,
} from '@tanstack/react-router'
import { PageError, PageMissing, Rows } from '@/components/states'
import { readView } from '@/features/evidence/view'
import { toProblem } from '@/lib/api'
import { q } from '@/lib/queries'
import { compact, number, numbers, oneOf, text } from '@/lib/search'
import { queryClient } from './query-client'
import { Shell } from './shell'

const root = createRootRouteWithContext<{ queries: QueryClient }>()({
  component: Outlet,
  notFoundComponent: PageMissing,
})

const signin = createRoute({
  getParentRoute: () => root,
  path: '/signin',
  validateSearch: (raw) => compact({ code: text(raw, 'code'), next: text(raw, 'next'), problem: text(raw, 'problem') }),
  component: lazyRouteComponent(() => import('@/features/session/sign-in'), 'SignInScreen'),
})

/** Everything else needs a session. */
const app = createRoute({
  getParentRoute: () => root,
  id: 'app',
  beforeLoad: async ({ context, location }) => {
    try {
      await context.queries.ensureQueryData(q.session())
    } catch (error) {
      if (toProblem(error).status === 401) throw redirect({ to: '/signin', search: { next: location.href } })
      throw error
    }
  },
  component: Shell,
})

const inbox = createRoute({
  getParentRoute: () => app,
  path: '/',
  component: lazyRouteComponent(() => import('@/features/inbox/inbox'), 'InboxScreen'),
})
const datasets = createRoute({
  getParentRoute: () => app,
  path: '/p/$projectId/datasets',
  component: lazyRouteComponent(() => import('@/features/datasets/datasets'), 'DatasetsScreen'),
})
const dataset = createRoute({
  getParentRoute: () => app,
  path: '/p/$projectId/datasets/$datasetId',
  validateSearch: (raw) =>
    compact({
      split: oneOf(['train', 'test'])(raw, 'split'),
      label: number(raw, 'label'),
      show: oneOf(['converted', 'duplicates', 'other_label'])(raw, 'show'),
      size: text(raw, 'size'),
      model: text(raw, 'model'),
      says: text(raw, 'says'),
      i: number(raw, 'i'),
      zoom: number(raw, 'zoom'),
    }),
  component: lazyRouteComponent(() => import('@/features/datasets/dataset'), 'DatasetScreen'),
})
const uploads = createRoute({
  getParentRoute: () => app,
  path: '/p/$projectId/uploads',
  component: lazyRouteComponent(() => import('@/features/uploads/uploads'), 'UploadsScreen'),
})
const models = createRoute({
  getParentRoute: () => app,
  path: '/p/$projectId/models',
  component: lazyRouteComponent(() => import('@/features/models/models'), 'ModelsScreen'),
})
const model = createRoute({
  getParentRoute: () => app,
  path: '/p/$projectId/models/$modelId',
  validateSearch: (raw) => compact({ label: number(raw, 'label'), predicted: number(raw, 'predicted') }),
  component: lazyRouteComponent(() => import('@/features/models/model'), 'ModelScreen'),
})
const cases = createRoute({
  getParentRoute: () => app,
  path: '/p/$projectId/cases',
  validateSearch: (raw) =>
    compact({ tab: oneOf(['open', 'repairing', 'verified', 'regressed', 'archived'])(raw, 'tab') }),
  component: lazyRouteComponent(() => import('@/features/cases/cases'), 'CasesScreen'),
})
const newCase = createRoute({
  getParentRoute: () => app,
  path: '/p/$projectId/cases/new',
  validateSearch: (raw) =>
    compact({
      model: text(raw, 'model'),
      triggered: text(raw, 'triggered'),
      carriers: numbers(raw, 'carriers').join(',') || undefined,
      of: text(raw, 'of'),
      label: number(raw, 'label'),
      predicted: number(raw, 'predicted'),
      test: numbers(raw, 'test').join(',') || undefined,
    }),
  component: lazyRouteComponent(() => import('@/features/cases/new-case'), 'NewCaseScreen'),
})

const beside = createRoute({
  getParentRoute: () => app,
  path: '/compare',
  validateSearch: (raw) => compact({ a: text(raw, 'a'), b: text(raw, 'b') }),
  component: lazyRouteComponent(() => import('@/features/cases/beside'), 'BesideScreen'),
})
const drills = createRoute({
  getParentRoute: () => app,
  path: '/p/$projectId/drills',
  component: lazyRouteComponent(() => import('@/features/drills/drills'), 'DrillsScreen'),
})
const newDrill = createRoute({
  getParentRoute: () => app,
  path: '/p/$projectId/drills/new',
  validateSearch: (raw) => compact({ dataset: text(raw, 'dataset'), attack: text(raw, 'attack') }),
  component: lazyRouteComponent(() => import('@/features/drills/new-drill'), 'NewDrillScreen'),
})
const drill = createRoute({
  getParentRoute: () => app,
  path: '/p/$projectId/drills/$drillId',
  component: lazyRouteComponent(() => import('@/features/drills/drill'), 'DrillScreen'),
})

const sweeps = createRoute({
  getParentRoute: () => app,
  path: '/p/$projectId/sweeps',
  validateSearch: (raw) => compact({ model: text(raw, 'model') }),
  component: lazyRouteComponent(() => import('@/features/sweeps/sweeps'), 'SweepsScreen'),
})
const sweep = createRoute({
  getParentRoute: () => app,
  path: '/p/$projectId/sweeps/$sweepId',
  validateSearch: (raw) => compact({ label: number(raw, 'label') }),
  component: lazyRouteComponent(() => import('@/features/sweeps/sweep'), 'SweepScreen'),
})

const caseRoot = createRoute({
  getParentRoute: () => app,
  path: '/c/$caseId',
  component: lazyRouteComponent(() => import('@/features/cases/case-frame'), 'CaseFrame'),
})
const caseOverview = createRoute({
  getParentRoute: () => caseRoot,
  path: '/',
  component: lazyRouteComponent(() => import('@/features/cases/overview'), 'OverviewScreen'),
})
const evidence = createRoute({
  getParentRoute: () => caseRoot,
  path: '/evidence',
  validateSearch: readView,
  component: lazyRouteComponent(() => import('@/features/evidence/workbench'), 'WorkbenchScreen'),
})
const compare = createRoute({
  getParentRoute: () => caseRoot,
  path: '/compare',
  component: lazyRouteComponent(() => import('@/features/comparisons/compare'), 'CompareScreen'),
})
const review = createRoute({
  getParentRoute: () => caseRoot,
  path: '/review',
  component: lazyRouteComponent(() => import('@/features/review/review'), 'ReviewScreen'),
})
const judge = createRoute({
  getParentRoute: () => caseRoot,
  path: '/rounds/$roundId',
  validateSearch: (raw) => compact({ queue: oneOf(['mine', 'second', 'conflicts', 'controls'])(raw, 'queue') }),
  component: lazyRouteComponent(() => import('@/features/review/judge'), 'JudgeScreen'),
})
const repair = createRoute({
  getParentRoute: () => caseRoot,
  path: '/repair',
  validateSearch: (raw) => compact({ t: number(raw, 't') }),
  component: lazyRouteComponent(() => import('@/features/remedies/repair'), 'RepairScreen'),
})
const verify = createRoute({
  getParentRoute: () => caseRoot,
  path: '/verify',
  validateSearch: (raw) => compact({ remedy: text(raw, 'remedy') }),
  component: lazyRouteComponent(() => import('@/features/remedies/verify'), 'VerifyScreen'),
})
const report = createRoute({
  getParentRoute: () => caseRoot,
  path: '/report',
  component: lazyRouteComponent(() => import('@/features/cases/report'), 'ReportScreen'),
})
const activity = createRoute({
  getParentRoute: () => caseRoot,
  path: '/activity',
  component: lazyRouteComponent(() => import('@/features/activity/activity'), 'CaseActivityScreen'),
})
const jobs = createRoute({
  getParentRoute: () => app,
  path: '/jobs',
  component: lazyRouteComponent(() => import('@/features/jobs/jobs'), 'JobsScreen'),
})
const job = createRoute({
  getParentRoute: () => app,
  path: '/jobs/$jobId',
  component: lazyRouteComponent(() => import('@/features/jobs/job'), 'JobScreen'),
})
const keys = createRoute({
  getParentRoute: () => app,
  path: '/settings/keys',
  component: lazyRouteComponent(() => import('@/features/settings/keys'), 'KeysScreen'),
})
const settings = createRoute({
  getParentRoute: () => app,
  path: '/settings/tokens',
  component: lazyRouteComponent(() => import('@/features/settings/tokens'), 'TokensScreen'),
})
const profile = createRoute({
  getParentRoute: () => app,
  path: '/settings/profile',
  component: lazyRouteComponent(() => import('@/features/settings/profile'), 'ProfileScreen'),
})
const people = createRoute({
  getParentRoute: () => app,
  path: '/settings/people',
  component: lazyRouteComponent(() => import('@/features/settings/people'), 'PeopleScreen'),
})
const members = createRoute({
  getParentRoute: () => app,
  path: '/p/$projectId/members',
  component: lazyRouteComponent(() => import('@/features/members/members'), 'MembersScreen'),
})
const audit = createRoute({
  getParentRoute: () => app,
  path: '/settings/audit',
  component: lazyRouteComponent(() => import('@/features/activity/activity'), 'AuditScreen'),
})

const tree = root.addChildren([
  signin,
  app.addChildren([
    inbox,
    datasets,
    dataset,
    uploads,
    models,
    model,
    cases,
    newCase,
    drills,
    newDrill,
    drill,
    sweeps,
    sweep,
    caseRoot.addChildren([caseOverview, evidence, compare, review, judge, repair, verify, activity, report]),
    beside,
    jobs,
    job,
    members,
    profile,
    settings,
    keys,
    people,
    audit,
  ]),
])

export const router = createRouter({
  routeTree: tree,
  context: { queries: queryClient },
  defaultErrorComponent: PageError,
  defaultPendingComponent: () => (
    <div className="page">
      <Rows />
    </div>
  ),
  defaultPreload: 'intent',
  scrollRestoration: true,
})

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}
