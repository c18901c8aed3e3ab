// The one place where answers of the API become data or an ApiProblem (RFC 9457).
import type { Problem } from '@/client'
import { client } from '@/client/client.gen'

export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly title: string,
    readonly detail: string,
    readonly instance: string | null,
    readonly fields: { field: string; reason: string }[] = [],
  ) {
    super(detail)
    this.name = 'ApiProblem'
  }
}

function isProblem(body: unknown): body is Problem {
  return typeof body === 'object' && body !== null && 'detail' in body && typeof body.detail === 'string'
}

/** Any thrown thing as a problem that can be shown: what happened, what is safe, what to do. */
export function toProblem(error: unknown, response?: Response): ApiProblem {
  if (error instanceof ApiProblem) return error
  if (isProblem(error)) {
    const fields = (error.errors ?? []).map((e) => ({
      field: e.field ?? e.loc ?? '',
      reason: e.reason ?? e.message ?? e.msg ?? '',
    }))
    return new ApiProblem(
      error.status ?? response?.status ?? 0,
      error.code ?? 'unknown',
      error.title ?? 'The request failed',
      error.detail,
      error.instance ?? null,
      fields,
    )
  }
  if (response && !response.ok) {
    return new ApiProblem(
      response.status,
      'unexpected_answer',
      `The server answered ${response.status}`,
      'Try again. If it happens again, look at the log of the API process.',
      response.headers.get('x-request-id'),
    )
  }
  if (error instanceof TypeError) {
    return new ApiProblem(
      0,
      'unreachable',
      'The server does not answer',
      'Nothing that was saved is lost. Check that `orfila up` is running, then try again.',
      null,
    )
  }
  return new ApiProblem(
    0,
    'page_error',
    'This page has an error',
    error instanceof Error ? error.message : String(error),
    null,
  )
}

client.setConfig({ baseUrl: '', credentials: 'same-origin' })
client.interceptors.error.use((error, response) => toProblem(error, response as Response | undefined))

/** The body of a successful answer; a failing one has already thrown. */
export async function body<T>(call: Promise<{ data: T }>): Promise<T> {
  return (await call).data
}

export function idempotencyKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('')
}

/** Address of a picture or download that the browser fetches itself. */
export const address = {
  atlas: (datasetId: string, number: number) => `/api/v1/datasets/${datasetId}/atlases/${number}.webp`,
  thumbnails: (datasetId: string, indices: readonly number[]) =>
    `/api/v1/datasets/${datasetId}/thumbnails.webp?images=${indices.join()}`,
  pixels: (datasetId: string, index: number) => `/api/v1/datasets/${datasetId}/images/${index}/pixels.png`,
  original: (datasetId: string, index: number) => `/api/v1/datasets/${datasetId}/images/${index}/original`,
  archive: (datasetId: string) => `/api/v1/datasets/${datasetId}/archive.zip`,
  indexList: (datasetId: string) => `/api/v1/datasets/${datasetId}/index.csv`,
  model: (modelId: string) => `/api/v1/models/${modelId}/model.safetensors`,
  affected: (caseId: string, number: number) => `/api/v1/cases/${caseId}/affected/${number}.png`,
  query: (caseId: string, number: number, query: number) =>
    `/api/v1/cases/${caseId}/affected/${number}/queries/${query}.png`,
  // `result` is there for the browser alone: a page keeps the picture of an address that it has shown before.
  portrait: (
    caseId: string,
    name: 'flagged_mean' | 'class_mean' | 'difference' | 'variance',
    result: string | null,
    threshold?: number,
  ) =>
    `/api/v1/cases/${caseId}/portraits/${name}.png?result=${result?.slice(0, 12) ?? ''}${threshold === undefined ? '' : `&threshold=${threshold}`}`,
  flagged: (caseId: string) => `/api/v1/cases/${caseId}/flagged.csv`,
  scores: (caseId: string) => `/api/v1/cases/${caseId}/scores.parquet`,
  comparison: (comparisonId: string) => `/api/v1/comparisons/${comparisonId}/comparison.parquet`,
  report: (caseId: string, kind?: 'html' | 'pdf') => `/api/v1/cases/${caseId}/report${kind ? `.${kind}` : ''}`,
  export: (caseId: string, name: 'bundle.zip' | 'cleanlab.csv' | 'fiftyone.json') => `/api/v1/cases/${caseId}/${name}`,
  removed: (remedyId: string) => `/api/v1/remedies/${remedyId}/removed.csv`,
}
