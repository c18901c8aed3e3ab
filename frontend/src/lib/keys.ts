// Keys of the workbench as data: the key sheet shows this list, and the handler looks up the same one.
import { type Bindings, type Command, commands, defaults, keyName } from './bindings'
import type { VerdictValue } from './verdicts'

export type KeyAction =
  | { kind: 'move'; by: 'left' | 'right' | 'up' | 'down' | 'home' | 'end' | 'page-up' | 'page-down'; extend: boolean }
  | { kind: 'verdict'; verdict: VerdictValue | null; advance: boolean }
  | { kind: 'undecided'; step: 1 | -1 }
  | {
      kind:
        | 'select'
        | 'select-all'
        | 'clear'
        | 'undo'
        | 'redo'
        | 'difference'
        | 'help'
        | 'blink'
        | 'learn'
        | 'comment'
        | 'glass'
    }
  | { kind: 'zoom'; step: 1 | -1 }
  | { kind: 'map-tool'; tool: 'pan' | 'lasso' }

export function keySheet(keys: Bindings): { keys: string[]; does: string }[] {
  const own = (name: Command) => ({ keys: [keyName(keys[name])], does: commands[name].does })
  return [
    { keys: ['←', '→', '↑', '↓'], does: 'Move through the gallery (Home, End, Page Up, Page Down too)' },
    { keys: ['Shift', '+ arrows'], does: 'Extend the selection' },
    { keys: ['Space'], does: 'Select or deselect the image' },
    { keys: ['Ctrl', 'A'], does: 'Select all that the gallery shows' },
    { keys: ['Esc'], does: 'Clear the selection' },
    ...(['poison', 'clean', 'unsure', 'take-back', 'next', 'previous'] as const).map(own),
    { keys: ['Ctrl', 'Z'], does: 'Undo the last verdict, bulk too (Ctrl Shift Z: again)' },
    ...(['learn', 'comment', 'blink', 'difference', 'glass', 'pan', 'lasso'] as const).map(own),
    { keys: ['+', '−'], does: 'Larger or smaller tiles' },
    { keys: ['Ctrl', 'K'], does: 'Go anywhere by name' },
    { keys: ['?'], does: 'This sheet' },
  ]
}

interface KeyLike {
  key: string
  code?: string
  shiftKey: boolean
  ctrlKey: boolean
  metaKey: boolean
  altKey: boolean
}

const arrows = { ArrowLeft: 'left', ArrowRight: 'right', ArrowUp: 'up', ArrowDown: 'down' } as const
const jumps = { Home: 'home', End: 'end', PageUp: 'page-up', PageDown: 'page-down' } as const
const verdicts: readonly VerdictValue[] = ['poison', 'clean', 'unsure']

export function keyAction(event: KeyLike, keys: Bindings = defaults): KeyAction | null {
  const { key, shiftKey: shift } = event
  if (event.altKey) return null
  const lower = key.toLowerCase()
  if (event.ctrlKey || event.metaKey) {
    if (lower === 'a' && !shift) return { kind: 'select-all' }
    if (lower === 'z') return { kind: shift ? 'redo' : 'undo' }
    return null
  }
  if (key in arrows) return { kind: 'move', by: arrows[key as keyof typeof arrows], extend: shift }
  if (key in jumps) return { kind: 'move', by: jumps[key as keyof typeof jumps], extend: shift }
  // With Shift, most layouts turn a digit into another character; `code` still names the key.
  const digit = /^Digit(\d)$/.exec(event.code ?? '')?.[1]
  const isOf = (command: Command) => lower === keys[command] || digit === keys[command]
  for (const verdict of verdicts) if (isOf(verdict)) return { kind: 'verdict', verdict, advance: !shift }
  if (isOf('take-back')) return { kind: 'verdict', verdict: null, advance: !shift }
  switch (lower) {
    case keys.next:
      return { kind: 'undecided', step: 1 }
    case keys.previous:
      return { kind: 'undecided', step: -1 }
    case keys.blink:
      return { kind: 'blink' }
    case keys.learn:
      return { kind: 'learn' }
    case keys.comment:
      return { kind: 'comment' }
    case keys.difference:
      return { kind: 'difference' }
    case keys.glass:
      return { kind: 'glass' }
    case keys.pan:
      return { kind: 'map-tool', tool: 'pan' }
    case keys.lasso:
      return { kind: 'map-tool', tool: 'lasso' }
    case ' ':
      return { kind: 'select' }
    case 'escape':
      return { kind: 'clear' }
    case '+':
    case '=':
      return { kind: 'zoom', step: 1 }
    case '-':
    case '_':
      return { kind: 'zoom', step: -1 }
    case '?':
      return { kind: 'help' }
    default:
      return null
  }
}

/** Keys are dead while a text field has the focus, or a dialogue or a list that needs them itself. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false
  if (target.isContentEditable) return true
  if (target.closest('[role="dialog"], [role="listbox"], [role="menu"]')) return true
  return target.matches('input:not([type="checkbox"]), textarea, select')
}

/** The place in the order after a move in a grid of `columns`. */
export function movePlace(
  place: number,
  n: number,
  columns: number,
  by: Extract<KeyAction, { kind: 'move' }>['by'],
): number {
  const step = {
    left: -1,
    right: 1,
    up: -columns,
    down: columns,
    home: -n,
    end: n,
    'page-up': -columns * 4,
    'page-down': columns * 4,
  }
  const next = place + step[by]
  if ((by === 'up' || by === 'down') && (next < 0 || next >= n)) return place
  return Math.max(0, Math.min(n - 1, next))
}
