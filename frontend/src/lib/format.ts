// Numbers, times and sizes as the whole product writes them.
const counts = new Intl.NumberFormat('en')

export const count = (n: number): string => counts.format(n)

/** A noun with its number: "1 image", "2,004 images". */
export const plural = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`

/** A share between 0 and 1 as .98; exactly 1 as 1.00. */
export function share(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return '–'
  return value.toFixed(2).replace(/^(-?)0\./, '$1.')
}

export function percent(value: number | null | undefined, digits = 1): string {
  if (value === null || value === undefined) return '–'
  return `${(value * 100).toFixed(digits)} %`
}

export function interval(low: number | null | undefined, high: number | null | undefined): string {
  return low === null || low === undefined || high === null || high === undefined
    ? ''
    : `[${share(low)}–${share(high)}]`
}

/** A signed score with three significant digits. */
export function score(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return '–'
  if (value === 0) return '0'
  const size = Math.abs(value)
  const text = size >= 1000 || size < 0.001 ? value.toExponential(2) : value.toPrecision(3)
  return text.replace('-', '−')
}

export function pValue(value: number): string {
  return value < 0.001 ? 'p < .001' : `p = ${value.toFixed(3).replace(/^0/, '').replace(/0$/, '')}`
}

export function bytes(n: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let size = n
  let unit = 0
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000
    unit++
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`
}

export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return '–'
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.round(seconds)} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`
}

const times = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })

export const moment = (iso: string): string => times.format(new Date(iso))

export function ago(iso: string, now = Date.now()): string {
  const seconds = (new Date(iso).getTime() - now) / 1000
  const size = Math.abs(seconds)
  if (size < 45) return 'just now'
  if (size < 3600) return relative.format(Math.round(seconds / 60), 'minute')
  if (size < 86400) return relative.format(Math.round(seconds / 3600), 'hour')
  return relative.format(Math.round(seconds / 86400), 'day')
}

export const elapsed = (from: string, to: string | null, now = Date.now()): number =>
  ((to ? new Date(to).getTime() : now) - new Date(from).getTime()) / 1000

export const className = (classes: readonly string[], label: number | null | undefined): string =>
  label === null || label === undefined ? '–' : (classes[label] ?? `class ${label}`)

export const shortDigest = (digest: string): string => digest.slice(0, 12)
