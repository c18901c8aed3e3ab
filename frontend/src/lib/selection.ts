// One selection for histogram, gallery and inspector: click replaces, Shift extends, Ctrl toggles.
import { create } from 'zustand'

export interface Selection {
  /** `index` of each selected image. */
  selected: ReadonlySet<number>
  /** Image that has the focus; the inspector shows it. */
  focused: number | null
  /** Where a Shift-extension started. */
  anchor: number | null
}

export const nothing: Selection = { selected: new Set(), focused: null, anchor: null }

export function select(
  selection: Selection,
  order: ArrayLike<number>,
  index: number,
  how: 'replace' | 'extend' | 'toggle',
): Selection {
  if (how === 'toggle') {
    const selected = new Set(selection.selected)
    if (!selected.delete(index)) selected.add(index)
    return { selected, focused: index, anchor: index }
  }
  if (how === 'extend' && selection.anchor !== null) {
    const from = indexOf(order, selection.anchor)
    const to = indexOf(order, index)
    if (from >= 0 && to >= 0) {
      const selected = new Set<number>()
      for (let k = Math.min(from, to); k <= Math.max(from, to); k++) selected.add(order[k])
      return { selected, focused: index, anchor: selection.anchor }
    }
  }
  return { selected: new Set([index]), focused: index, anchor: index }
}

export function selectAll(selection: Selection, order: Iterable<number>): Selection {
  return { ...selection, selected: new Set(order) }
}

/** What a verdict applies to: the selection when it holds the focused image, else the focused image alone. */
export function targets(selection: Selection): number[] {
  if (selection.focused === null) return [...selection.selected]
  return selection.selected.has(selection.focused) ? [...selection.selected] : [selection.focused]
}

/** How many images `targets` gives, without listing them. */
export function countTargets(selection: Selection): number {
  return selection.focused === null || selection.selected.has(selection.focused) ? selection.selected.size : 1
}

export function indexOf(order: ArrayLike<number>, index: number): number {
  for (let k = 0; k < order.length; k++) if (order[k] === index) return k
  return -1
}

interface SelectionStore extends Selection {
  set: (next: Selection) => void
}

export const useSelection = create<SelectionStore>()((set) => ({ ...nothing, set: (next) => set(next) }))
