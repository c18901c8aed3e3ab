// Answers of the server are kept until an event says that they changed; only transient failures are tried again.
import { QueryClient } from '@tanstack/react-query'
import { toProblem } from '@/lib/api'

export const queryClient = new QueryClient({
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
