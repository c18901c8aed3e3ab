// Which key does what. People may choose the letters; arrows, Space, Escape and Ctrl combinations stay as they are.
import { create } from 'zustand'

export const commands = {
  poison: { key: 'p', does: 'Poison, then go to the next undecided (Shift stays)' },
  clean: { key: 'c', does: 'Clean, then go to the next undecided (Shift stays)' },
  unsure: { key: 'u', does: 'Unsure, then go to the next undecided (Shift stays)' },
  'take-back': { key: '0', does: 'Take the verdict back' },
  next: { key: 'n', does: 'Next undecided' },
  previous: { key: 'b', does: 'Previous undecided' },
  learn: { key: 'l', does: 'Learn from the verdicts: scores and gallery follow' },
  comment: { key: 'm', does: 'Comment on the image (Ctrl Enter sends)' },
  blink: { key: 'v', does: 'Hold: blink between candidate and affected image' },
  difference: { key: 'd', does: 'Difference between candidate and affected image, then eight times as strong' },
  glass: { key: 'z', does: 'Enlarge both images at the same place (the wheel does too)' },
  pan: { key: 'g', does: 'On the map: drag moves it' },
  lasso: { key: 's', does: 'On the map: drag draws a lasso' },
} as const

export type Command = keyof typeof commands
export type Bindings = Readonly<Record<Command, string>>

export const commandNames = Object.keys(commands) as Command[]
export const defaults = Object.fromEntries(commandNames.map((name) => [name, commands[name].key])) as Bindings

/** Why a key cannot be chosen; null where it can. */
export function whyNot(bindings: Bindings, command: Command, key: string): string | null {
  if (!/^[\p{L}\p{N}]$/u.test(key)) return 'Choose a letter or a digit.'
  const other = commandNames.find((name) => name !== command && bindings[name] === key)
  return other ? `${key.toUpperCase()} is taken: “${commands[other].does}”.` : null
}

const STORED = 'orfila-keys'

/** What this browser remembers, as far as it makes sense. */
export function readBindings(stored: string | null): Bindings {
  let chosen: Record<string, unknown> = {}
  try {
    chosen = JSON.parse(stored ?? '{}') ?? {}
  } catch {
    return defaults
  }
  let found = defaults
  for (const name of commandNames) {
    const key = chosen[name]
    if (typeof key === 'string' && whyNot({ ...found, ...chosen } as Bindings, name, key) === null)
      found = { ...found, [name]: key }
  }
  return new Set(Object.values(found)).size === commandNames.length ? found : defaults
}

interface BindingStore {
  keys: Bindings
  /** Does nothing where `whyNot` has a reason. */
  bind: (command: Command, key: string) => void
  reset: () => void
}

/** A browser that keeps nothing throws; the keys then hold until the page is closed. */
function remember<T>(use: (storage: Storage) => T): T | null {
  try {
    return use(localStorage)
  } catch {
    return null
  }
}

export const useBindings = create<BindingStore>()((set, get) => ({
  keys: readBindings(remember((storage) => storage.getItem(STORED))),
  bind: (command, key) => {
    if (whyNot(get().keys, command, key) !== null) return
    const keys = { ...get().keys, [command]: key }
    remember((storage) => storage.setItem(STORED, JSON.stringify(keys)))
    set({ keys })
  },
  reset: () => {
    remember((storage) => storage.removeItem(STORED))
    set({ keys: defaults })
  },
}))

/** As it stands on a button. */
export const keyName = (key: string) => key.toUpperCase()
