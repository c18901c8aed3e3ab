// The keys of the workbench. What they do is read when one is pressed, so that nothing listens anew for each image.
import { useEffect, useRef } from 'react'
import { useBindings } from '@/lib/bindings'
import { isTyping, type KeyAction, keyAction } from '@/lib/keys'

/** `act`: does what a key asks for; `released`: the key that blinks was let go. */
export function useWorkbenchKeys(act: (action: KeyAction) => void, released: () => void): void {
  const latest = useRef({ act, released })
  latest.current = { act, released }
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (isTyping(event.target)) return
      const action = keyAction(event, useBindings.getState().keys)
      if (!action) return
      // A focused button or link keeps Space for itself.
      if (action.kind === 'select' && event.target instanceof HTMLElement && event.target.closest('button, a, summary'))
        return
      event.preventDefault()
      latest.current.act(action)
    }
    const onKeyUp = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() === useBindings.getState().keys.blink) latest.current.released()
    }
    window.addEventListener('keydown', onKey)
    window.addEventListener('keyup', onKeyUp)
    return () => {
      window.removeEventListener('keydown', onKey)
      window.removeEventListener('keyup', onKeyUp)
    }
  }, [])
}
