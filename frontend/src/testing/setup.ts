// What happy-dom lacks and Mantine asks for.
import { afterEach } from 'vitest'
import { cleanup } from '@testing-library/react'

window.matchMedia ??= (query: string) =>
  ({ matches: false, media: query, addEventListener: () => {}, removeEventListener: () => {} }) as unknown as MediaQueryList

afterEach(cleanup)
