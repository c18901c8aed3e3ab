// Keys of the workbench as data: the key sheet shows this list, and the handler looks up the same one.
import type { VerdictValue } from './verdicts'

export type KeyAction =
  | { kind: 'move'; by: 'left' | 'right' | 'up' | 'down' | 'home' | 'end' | 'page-up' | 'page-down'; extend: boolean }
  | { kind: 'verdict'; verdict: VerdictValue | null; advance: boolean }
  | { kind: 'undecided'; step: 1 | -1 }
  | {
      kind: 'select' | 'select-all' | 'clear' | 'undo' | 'redo' | 'difference' | 'help' | 'blink' | 'learn' | 'comment'
    }
  | { kind: 'zoom'; step: 1 | -1 }
  | { kind: 'map-tool'; tool: 'pan' | 'lasso' }

export const keySheet: { keys: string[]; does: string }[] = [
  { keys: ['←', '→', '↑', '↓'], does: 'Move through the gallery (Home, End, Page Up, Page Down too)' },
  { keys: ['Shift', '+ arrows'], does: 'Extend the selection' },
  { keys: ['Space'], does: 'Select or deselect the image' },
  { keys: ['Ctrl', 'A'], does: 'Select all that the gallery shows' },
  { keys: ['Esc'], does: 'Clear the selection' },
  { keys: ['P'], does: 'Poison, then go to the next undecided (Shift stays)' },
  { keys: ['C'], does: 'Clean, then go to the next undecided (Shift stays)' },
  { keys: ['U'], does: 'Unsure, then go to the next undecided (Shift stays)' },
  { keys: ['0'], does: 'Take the verdict back' },
  { keys: ['N', 'B'], does: 'Next, previous undecided' },
  { keys: ['Ctrl', 'Z'], does: 'Undo the last verdict, bulk too (Ctrl Shift Z: again)' },
  { keys: ['L'], does: 'Learn from the verdicts: scores and gallery follow' },
  { keys: ['M'], does: 'Comment on the image (Ctrl Enter sends)' },
  { keys: ['V'], does: 'Hold: blink between candidate and affected image' },
  { keys: ['D'], does: 'Difference between candidate and affected image' },
  { keys: ['G', 'S'], does: 'On the map: drag moves it, drag draws a lasso' },
  { keys: ['+', '−'], does: 'Larger or smaller tiles' },
  { keys: ['Ctrl', 'K'], does: 'Go anywhere by name' },
  { keys: ['?'], does: 'This sheet' },
]

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
const verdicts: Record<string, VerdictValue | null> = { p: 'poison', c: 'clean', u: 'unsure' }

export function keyAction(event: KeyLike): KeyAction | null {
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
  if (lower in verdicts) return { kind: 'verdict', verdict: verdicts[lower], advance: !shift }
  // With Shift, most layouts turn 0 into another character; `code` still names the key.
  if (key === '0' || event.code === 'Digit0') return { kind: 'verdict', verdict: null, advance: !shift }
  switch (lower) {
    case 'n':
      return { kind: 'undecided', step: 1 }
    case 'b':
      return { kind: 'undecided', step: -1 }
    case ' ':
      return { kind: 'select' }
    case 'escape':
      return { kind: 'clear' }
    case 'v':
      return { kind: 'blink' }
    case 'l':
      return { kind: 'learn' }
    case 'm':
      return { kind: 'comment' }
    case 'd':
      return { kind: 'difference' }
    case 'g':
      return { kind: 'map-tool', tool: 'pan' }
    case 's':
      return { kind: 'map-tool', tool: 'lasso' }
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
