// Answers of the server are kept until an event says that they changed; only transient failures are tried again.
import { MutationCache, QueryCache, QueryClient } from '@tanstack/react-query'
import { toProblem } from '@/lib/api'

/** A session that ended while the page was open: sign in again, and come back to the same view. */
function whenSignedOut(error: unknown): void {
  const { pathname, search } = window.location
  if (toProblem(error).status === 401 && pathname !== '/signin') {
    window.location.assign(`/signin?next=${encodeURIComponent(pathname + search)}`)
  }
}

export const queryClient = new QueryClient({
  queryCache: new QueryCache({ onError: whenSignedOut }),
  mutationCache: new MutationCache({ onError: whenSignedOut }),
  defaultOptions: {
    queries: {
      staleTime: 30_000,
      retry: (failures, error) => {
        const { status } = toProblem(error)
        return failures < 2 && (status === 0 || status >= 502)
      },
    },
  },
})
