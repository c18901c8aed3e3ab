// Lists come in pages with a cursor. A short list (data sets, models, cases of a project) is asked for whole; one that
// grows without end (jobs, audit) is shown page by page with a button.

export interface PageOf<T> {
  items: T[]
  next_cursor?: string | null
}

/** All items of a list, asked for page by page. */
export async function everything<T>(page: (cursor?: string) => Promise<PageOf<T>>): Promise<{ items: T[] }> {
  const items: T[] = []
  let cursor: string | undefined
  do {
    const answer = await page(cursor)
    items.push(...answer.items)
    cursor = answer.next_cursor ?? undefined
  } while (cursor !== undefined)
  return { items }
}

/** For an infinite query: where the next page starts. */
export const nextPage = (last: PageOf<unknown>): string | undefined => last.next_cursor ?? undefined

export const together = <T>(pages: { pages: PageOf<T>[] }): { items: T[] } => ({
  items: pages.pages.flatMap((page) => page.items),
})
