// What a view shows, as a command line and as a Python program that asks the same question.

/** Addresses that `orfila.client.Client` has a method for, which gives an object instead of JSON. */
const methods: [RegExp, string][] = [
  [/^\/api\/v1\/cases\/([0-9a-f]{32})$/, 'case'],
  [/^\/api\/v1\/models\/([0-9a-f]{32})$/, 'model'],
  [/^\/api\/v1\/datasets\/([0-9a-f]{32})$/, 'dataset'],
  [/^\/api\/v1\/jobs\/([0-9a-f]{32})$/, 'job'],
  [/^\/api\/v1\/drills\/([0-9a-f]{32})$/, 'drill'],
  [/^\/api\/v1\/cases\/([0-9a-f]{32})\/report$/, 'report'],
  [/^\/api\/v1\/cases\/([0-9a-f]{32})\/review$/, 'review'],
]

export function asCurl(origin: string, path: string): string {
  return `curl -H "Authorization: Bearer $ORFILA_TOKEN" "${origin}${path}"`
}

export function asPython(origin: string, path: string): string {
  const known = methods.map(([pattern, name]) => [pattern.exec(path)?.[1], name] as const).find(([id]) => id)
  const question = known ? `${known[1]}("${known[0]}")` : `get("${path}")`
  return [
    'import os',
    '',
    'from orfila.client import Client',
    '',
    `with Client("${origin}", os.environ["ORFILA_TOKEN"]) as orfila:`,
    `    print(orfila.${question})`,
    '',
  ].join('\n')
}

interface EvidenceSearch {
  tab?: string
  label?: number
  verdict?: string
  sort?: string
}

const sortedThere = new Set(['posterior', 'collapse_score', 'mark_score', 'influence', 'shift_mean', 'self_influence'])

/** The API address of what a place of a case shows. */
export function placeOfCase(caseId: string, place: string, search: EvidenceSearch = {}): string {
  const root = `/api/v1/cases/${caseId}`
  switch (place) {
    case 'evidence': {
      if (search.sort === 'informative') return `${root}/review/next`
      const query = new URLSearchParams()
      if ((search.tab ?? 'flagged') === 'flagged') query.set('flagged', 'true')
      if (search.label !== undefined) query.set('label', String(search.label))
      if (search.verdict) query.set('verdict', search.verdict)
      if (search.sort && sortedThere.has(search.sort)) query.set('sort', search.sort)
      if (search.sort === 'shift_mean' || search.sort === 'index') query.set('order', 'asc')
      if (search.sort === 'index') query.set('sort', 'index')
      const asked = query.toString()
      return `${root}/scores${asked && `?${asked}`}`
    }
    case 'compare':
      return `${root}/comparisons`
    case 'review':
      return `${root}/review`
    case 'rounds':
      return `${root}/rounds`
    case 'repair':
    case 'verify':
      return `${root}/remedies`
    case 'activity':
      return `/api/v1/audit?case_id=${caseId}`
    case 'report':
      return `${root}/report`
    default:
      return root
  }
}
