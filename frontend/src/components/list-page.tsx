// A list of a project's things: title, rows or an empty state, and below it the way to add one.
import { Stack } from '@mantine/core'
import type { UseQueryResult } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { CopyMenu } from './copy'
import { type Column, DataTable } from './data-table'
import { TitleRow } from './page'
import { Empty, Loaded } from './states'

export function ListPage<T extends { id: string }>({
  title,
  action,
  path,
  query,
  columns,
  icon,
  empty,
  children,
}: {
  title: string
  /** The primary action, on the right of the title. */
  action?: ReactNode
  /** The API address that answers what the list shows. */
  path: string
  query: UseQueryResult<{ items: T[] }>
  columns: readonly Column<T>[]
  icon: ReactNode
  empty: string
  children?: ReactNode
}) {
  return (
    <div className="page">
      <TitleRow title={title}>
        <CopyMenu path={path} />
        {action}
      </TitleRow>
      <Stack gap={16}>
        <section className="panel" aria-label={title}>
          <Loaded query={query}>
            {({ items }) =>
              items.length > 0 ? (
                <DataTable rows={items} columns={columns} />
              ) : (
                <Empty icon={icon} action={action}>
                  {empty}
                </Empty>
              )
            }
          </Loaded>
        </section>
        {children}
      </Stack>
    </div>
  )
}
