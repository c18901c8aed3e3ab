// What the browser asks the server, and under which key the answer is kept. Keys start with the kind of thing, so that
// live-events.ts can name what an event makes old.
import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query'
import {
  arriveAtCase,
  checkAudit,
  currentSession,
  datasetColumns,
  getAgreement,
  getBeside,
  getCase,
  getConfusion,
  getDataset,
  getDrill,
  getDrillFigure,
  getEarlyLook,
  getEvidence,
  getFigure,
  getImage,
  getJob,
  getJobLog,
  getMapColumns,
  getModel,
  getNearest,
  getNextImages,
  getQueue,
  getRemedy,
  getRemedyFigure,
  getReport,
  getReviewProgress,
  getRound,
  getSweep,
  getSweepFigure,
  getUpload,
  guessCard,
  listArchitectures,
  listAttacks,
  listAudit,
  listCases,
  listChecks,
  listComments,
  listComparisons,
  listDatasets,
  listDeliveries,
  listDetectors,
  listDrills,
  listJobs,
  listMaps,
  listMembers,
  listModels,
  listNotifications,
  listPredictions,
  listProjects,
  listRelated,
  listRemedies,
  listResolutions,
  listRounds,
  listSessions,
  listSweepFlagged,
  listSweeps,
  listTokens,
  listUploads,
  listUsers,
  listVerdicts,
  listViews,
  listWebhooks,
  listWorkers,
  predictionColumns,
  previewRemoval,
  type Queue,
  scoreColumns,
  signInWays,
  uploadStorage,
} from '@/client'
import { body } from './api'
import {
  CASE_COLUMNS,
  type CaseColumns,
  DATASET_COLUMNS,
  type DatasetColumns,
  decodeColumn,
  decodeColumns,
  type MoreCaseColumn,
  PREDICTION_COLUMNS,
  type PredictionColumns,
  rowNumbers,
} from './columns'
import { everything, nextPage, together } from './pages'

const immutable = { staleTime: Number.POSITIVE_INFINITY } as const

/** The index is not sent: row i is the training image with `index` i. */
const withIndex = (columns: Omit<CaseColumns, 'index'>): CaseColumns => ({ ...columns, index: rowNumbers(columns.n) })

export const q = {
  session: () => queryOptions({ queryKey: ['session'], queryFn: () => body(currentSession()), retry: false }),
  signInWays: () => queryOptions({ queryKey: ['sign-in'], queryFn: () => body(signInWays()), ...immutable }),
  sessions: () => queryOptions({ queryKey: ['sessions'], queryFn: () => body(listSessions()) }),
  users: () => queryOptions({ queryKey: ['users'], queryFn: () => body(listUsers()), retry: false }),
  rounds: (caseId: string) =>
    queryOptions({
      queryKey: ['case', caseId, 'rounds'],
      queryFn: () => body(listRounds({ path: { case_id: caseId } })),
    }),
  round: (id: string) =>
    queryOptions({ queryKey: ['round', id], queryFn: () => body(getRound({ path: { round_id: id } })) }),
  roundQueue: (id: string, kind: Queue['kind']) =>
    queryOptions({
      queryKey: ['round-queue', id, kind],
      queryFn: () => body(getQueue({ path: { round_id: id }, query: { kind } })),
    }),
  presence: (caseId: string) =>
    queryOptions({
      queryKey: ['presence', caseId],
      queryFn: () => body(arriveAtCase({ path: { case_id: caseId } })),
      refetchInterval: (query) => 1000 * (query.state.data?.again_in_seconds ?? 10),
      refetchIntervalInBackground: false,
      staleTime: 0,
      retry: false,
    }),
  comments: (caseId: string) =>
    queryOptions({
      queryKey: ['case', caseId, 'comments'],
      queryFn: () => body(listComments({ path: { case_id: caseId } })),
    }),
  webhooks: (projectId: string) =>
    queryOptions({
      queryKey: ['webhooks', projectId],
      queryFn: () => body(listWebhooks({ path: { project_id: projectId } })),
    }),
  deliveries: (id: string) =>
    queryOptions({
      queryKey: ['deliveries', id],
      queryFn: () => body(listDeliveries({ path: { webhook_id: id } })),
    }),
  notifications: () => queryOptions({ queryKey: ['notifications'], queryFn: () => body(listNotifications()) }),
  resolutions: (caseId: string) =>
    queryOptions({
      queryKey: ['case', caseId, 'resolutions'],
      queryFn: () => body(listResolutions({ path: { case_id: caseId } })),
    }),
  members: (projectId: string) =>
    queryOptions({
      queryKey: ['members', projectId],
      queryFn: () => body(listMembers({ path: { project_id: projectId } })),
    }),
  projects: () => queryOptions({ queryKey: ['projects'], queryFn: () => body(listProjects()) }),
  datasets: (projectId: string) =>
    queryOptions({
      queryKey: ['datasets', projectId],
      queryFn: () =>
        everything((cursor) => body(listDatasets({ path: { project_id: projectId }, query: { limit: 200, cursor } }))),
    }),
  dataset: (id: string) =>
    queryOptions({ queryKey: ['dataset', id], queryFn: () => body(getDataset({ path: { dataset_id: id } })) }),
  datasetColumns: (id: string) =>
    queryOptions({
      queryKey: ['dataset-columns', id],
      queryFn: async () =>
        decodeColumns<DatasetColumns>(await body(datasetColumns({ path: { dataset_id: id } })), DATASET_COLUMNS),
      ...immutable,
    }),
  image: (id: string, index: number) =>
    queryOptions({
      queryKey: ['image', id, index],
      queryFn: () => body(getImage({ path: { dataset_id: id, index } })),
      ...immutable,
    }),
  models: (projectId: string) =>
    queryOptions({
      queryKey: ['models', projectId],
      queryFn: () =>
        everything((cursor) => body(listModels({ path: { project_id: projectId }, query: { limit: 200, cursor } }))),
    }),
  model: (id: string) =>
    queryOptions({ queryKey: ['model', id], queryFn: () => body(getModel({ path: { model_id: id } })) }),
  confusion: (id: string) =>
    queryOptions({
      queryKey: ['confusion', id],
      queryFn: () => body(getConfusion({ path: { model_id: id } })),
      ...immutable,
    }),
  predictions: (id: string, label: number, predicted: number) =>
    queryOptions({
      queryKey: ['predictions', id, label, predicted],
      queryFn: () => body(listPredictions({ path: { model_id: id }, query: { label, predicted, limit: 200 } })),
      ...immutable,
    }),
  predictionColumns: (id: string) =>
    queryOptions({
      queryKey: ['prediction-columns', id],
      queryFn: async () =>
        decodeColumns<PredictionColumns>(await body(predictionColumns({ path: { model_id: id } })), PREDICTION_COLUMNS),
      ...immutable,
    }),
  uploads: (projectId: string) =>
    infiniteQueryOptions({
      queryKey: ['uploads', projectId],
      queryFn: ({ pageParam }) =>
        body(listUploads({ path: { project_id: projectId }, query: { limit: 50, cursor: pageParam } })),
      initialPageParam: undefined as string | undefined,
      getNextPageParam: nextPage,
      select: together,
    }),
  upload: (id: string) =>
    queryOptions({ queryKey: ['uploads', 'one', id], queryFn: () => body(getUpload({ path: { upload_id: id } })) }),
  uploadStorage: (projectId: string) =>
    queryOptions({
      queryKey: ['uploads', projectId, 'storage'],
      queryFn: () => body(uploadStorage({ path: { project_id: projectId } })),
    }),
  cases: (projectId: string) =>
    queryOptions({
      queryKey: ['cases', projectId],
      queryFn: () =>
        everything((cursor) => body(listCases({ path: { project_id: projectId }, query: { limit: 200, cursor } }))),
    }),
  case: (id: string) =>
    queryOptions({ queryKey: ['case', id], queryFn: () => body(getCase({ path: { case_id: id } })) }),
  early: (id: string) =>
    queryOptions({ queryKey: ['case', id, 'early'], queryFn: () => body(getEarlyLook({ path: { case_id: id } })) }),
  // The scores of a result never change; after a refit the case has another result.
  caseColumns: (id: string, result: string | null) =>
    queryOptions({
      queryKey: ['case-columns', id, result],
      queryFn: async () =>
        withIndex(
          decodeColumns<Omit<CaseColumns, 'index'>>(
            await body(scoreColumns({ path: { case_id: id }, query: { names: [...CASE_COLUMNS] } })),
            CASE_COLUMNS,
          ),
        ),
      ...immutable,
    }),
  moreCaseColumns: (id: string, result: string | null, name: MoreCaseColumn) =>
    queryOptions({
      queryKey: ['case-columns', id, result, name],
      queryFn: async () => {
        const { columns } = await body(scoreColumns({ path: { case_id: id }, query: { names: [name] } }))
        return { [name]: decodeColumn(columns[name]) }
      },
      ...immutable,
    }),
  evidence: (id: string, index: number) =>
    queryOptions({
      queryKey: ['case', id, 'evidence', index],
      queryFn: () => body(getEvidence({ path: { case_id: id, index } })),
      ...immutable,
    }),
  caseFigure: (id: string, result: string | null, name: 'transform_heatmap') =>
    queryOptions({
      queryKey: ['case-figure', id, result, name],
      queryFn: () => body(getFigure({ path: { case_id: id, name } })),
      ...immutable,
    }),
  verdicts: (id: string) =>
    queryOptions({
      queryKey: ['case', id, 'verdicts'],
      queryFn: () => body(listVerdicts({ path: { case_id: id } })),
    }),
  review: (id: string) =>
    queryOptions({
      queryKey: ['case', id, 'review'],
      queryFn: () => body(getReviewProgress({ path: { case_id: id } })),
    }),
  related: (id: string) =>
    queryOptions({
      queryKey: ['case', id, 'related'],
      queryFn: () => body(listRelated({ path: { case_id: id } })),
    }),
  beside: (id: string, result: string | null, other: string, otherResult: string | null) =>
    queryOptions({
      queryKey: ['beside', id, result, other, otherResult],
      queryFn: () => body(getBeside({ path: { case_id: id, other_id: other } })),
      ...immutable,
    }),
  report: (id: string) =>
    queryOptions({
      queryKey: ['case', id, 'report'],
      queryFn: () => body(getReport({ path: { case_id: id } })),
    }),
  checks: (modelId: string) =>
    queryOptions({
      queryKey: ['model', modelId, 'checks'],
      queryFn: () => body(listChecks({ path: { model_id: modelId } })),
    }),
  maps: (id: string) =>
    queryOptions({
      queryKey: ['case', id, 'maps'],
      queryFn: () => body(listMaps({ path: { case_id: id } })),
    }),
  views: (projectId: string) =>
    queryOptions({
      queryKey: ['views', projectId],
      queryFn: () => body(listViews({ path: { project_id: projectId } })),
    }),
  nearest: (id: string, index: number) =>
    queryOptions({
      queryKey: ['case', id, 'maps', 'nearest', index],
      queryFn: () => body(getNearest({ path: { case_id: id, index } })),
    }),
  mapColumns: (id: string) =>
    queryOptions({
      queryKey: ['map', id, 'columns'],
      queryFn: () => body(getMapColumns({ path: { map_id: id } })),
      staleTime: Number.POSITIVE_INFINITY,
      // Megabytes that nothing else shows.
      gcTime: 60_000,
    }),
  /** What to judge first; it stays in this order until the scores change, so that nothing moves under one's eyes. */
  nextToJudge: (id: string, result: string | null) =>
    queryOptions({
      queryKey: ['next-to-judge', id, result],
      queryFn: () => body(getNextImages({ path: { case_id: id }, query: { limit: 10_000 } })),
      staleTime: Number.POSITIVE_INFINITY,
    }),
  agreement: (id: string) =>
    queryOptions({
      queryKey: ['case', id, 'agreement'],
      queryFn: () => body(getAgreement({ path: { case_id: id } })),
    }),
  remedies: (caseId: string) =>
    queryOptions({
      queryKey: ['case', caseId, 'remedies'],
      queryFn: () => body(listRemedies({ path: { case_id: caseId } })),
    }),
  removalPreview: (caseId: string, kind: 'flagged' | 'poison_verdicts' | 'threshold', threshold: number | null) =>
    queryOptions({
      queryKey: ['case', caseId, 'preview', kind, threshold],
      queryFn: () => body(previewRemoval({ path: { case_id: caseId }, query: { kind, threshold } })),
      retry: false,
    }),
  remedy: (id: string) =>
    queryOptions({ queryKey: ['remedy', id], queryFn: () => body(getRemedy({ path: { remedy_id: id } })) }),
  remedyFigure: (id: string) =>
    queryOptions({
      queryKey: ['remedy-figure', id],
      queryFn: () => body(getRemedyFigure({ path: { remedy_id: id } })),
      ...immutable,
    }),
  attacks: () => queryOptions({ queryKey: ['attacks'], queryFn: () => body(listAttacks()), ...immutable }),
  cardGuess: (uploadId: string) =>
    queryOptions({
      queryKey: ['card-guess', uploadId],
      queryFn: () => body(guessCard({ path: { upload_id: uploadId } })),
      ...immutable,
    }),
  architectures: () =>
    queryOptions({ queryKey: ['architectures'], queryFn: () => body(listArchitectures()), ...immutable }),
  detectors: () => queryOptions({ queryKey: ['detectors'], queryFn: () => body(listDetectors()), ...immutable }),
  drills: (projectId: string) =>
    queryOptions({
      queryKey: ['drills', projectId],
      queryFn: () =>
        everything((cursor) => body(listDrills({ path: { project_id: projectId }, query: { limit: 200, cursor } }))),
    }),
  drill: (id: string) =>
    queryOptions({ queryKey: ['drill', id], queryFn: () => body(getDrill({ path: { drill_id: id } })) }),
  drillFigure: (id: string) =>
    queryOptions({
      queryKey: ['drill-figure', id],
      queryFn: () => body(getDrillFigure({ path: { drill_id: id } })),
      ...immutable,
    }),
  sweeps: (projectId: string) =>
    queryOptions({
      queryKey: ['sweeps', projectId],
      queryFn: () =>
        everything((cursor) => body(listSweeps({ path: { project_id: projectId }, query: { limit: 200, cursor } }))),
    }),
  sweep: (id: string) =>
    queryOptions({ queryKey: ['sweep', id], queryFn: () => body(getSweep({ path: { sweep_id: id } })) }),
  sweepFigure: (id: string) =>
    queryOptions({
      queryKey: ['sweep-figure', id],
      queryFn: () => body(getSweepFigure({ path: { sweep_id: id } })),
      ...immutable,
    }),
  sweepFlagged: (id: string, label: number) =>
    queryOptions({
      queryKey: ['sweep-flagged', id, label],
      queryFn: () => body(listSweepFlagged({ path: { sweep_id: id, label } })),
      ...immutable,
    }),
  mistaken: (modelId: string, predicted: number) =>
    queryOptions({
      queryKey: ['mistaken', modelId, predicted],
      queryFn: () =>
        body(listPredictions({ path: { model_id: modelId }, query: { predicted, misclassified: true, limit: 100 } })),
      ...immutable,
    }),
  comparisons: (caseId: string) =>
    queryOptions({
      queryKey: ['case', caseId, 'comparisons'],
      queryFn: () => body(listComparisons({ path: { case_id: caseId } })),
    }),
  activeJobs: () =>
    queryOptions({
      queryKey: ['jobs', 'active'],
      queryFn: () => everything((cursor) => body(listJobs({ query: { active: true, limit: 200, cursor } }))),
    }),
  workers: () => queryOptions({ queryKey: ['workers'], queryFn: () => body(listWorkers()) }),
  jobs: () =>
    infiniteQueryOptions({
      queryKey: ['jobs', 'all'],
      queryFn: ({ pageParam }) => body(listJobs({ query: { limit: 50, cursor: pageParam } })),
      initialPageParam: undefined as string | undefined,
      getNextPageParam: nextPage,
      select: together,
    }),
  job: (id: string) => queryOptions({ queryKey: ['job', id], queryFn: () => body(getJob({ path: { job_id: id } })) }),
  jobLog: (id: string) =>
    queryOptions({
      queryKey: ['job', id, 'log'],
      queryFn: () => body(getJobLog({ path: { job_id: id }, query: { limit: 500 } })),
    }),
  audit: (filter: { project_id?: string; case_id?: string; subject_id?: string; kind?: string; actor?: string }) =>
    infiniteQueryOptions({
      queryKey: ['audit', filter],
      queryFn: ({ pageParam }) => body(listAudit({ query: { ...filter, limit: 100, cursor: pageParam } })),
      initialPageParam: undefined as string | undefined,
      getNextPageParam: nextPage,
      select: together,
    }),
  auditCheck: () => queryOptions({ queryKey: ['audit-check'], queryFn: () => body(checkAudit()), enabled: false }),
  tokens: () => queryOptions({ queryKey: ['tokens'], queryFn: () => body(listTokens()) }),
}
