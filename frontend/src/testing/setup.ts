// What happy-dom lacks and Mantine asks for.

import { cleanup } from '@testing-library/react'
import { afterEach } from 'vitest'

window.matchMedia ??= (query: string) =>
  ({
    matches: false,
    media: query,
    addEventListener: () => {},
    removeEventListener: () => {},
  }) as unknown as MediaQueryList

afterEach(cleanup)
