// Reading a view's state from its address: whatever is not understood is left out, never an error.
type Raw = Record<string, unknown>

export const oneOf =
  <const T extends string>(allowed: readonly T[]) =>
  (raw: Raw, key: string): T | undefined =>
    allowed.includes(raw[key] as T) ? (raw[key] as T) : undefined

export function number(raw: Raw, key: string): number | undefined {
  const value = typeof raw[key] === 'string' ? Number(raw[key]) : raw[key]
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

export function text(raw: Raw, key: string): string | undefined {
  return typeof raw[key] === 'string' || typeof raw[key] === 'number' ? String(raw[key]) : undefined
}

/** "3,17,4" or a lone number as a list of numbers. */
export function numbers(raw: Raw, key: string): number[] {
  return (text(raw, key) ?? '')
    .split(',')
    .filter((part) => part !== '')
    .map(Number)
    .filter(Number.isInteger)
}

/** Without the keys that are undefined, so that the address stays short. */
export function compact<T extends object>(search: T): Partial<T> {
  return Object.fromEntries(Object.entries(search).filter(([, value]) => value !== undefined)) as Partial<T>
}
