// Rows of things that have an id. A column of numbers stands right and in the monospace face.
import type { ReactNode } from 'react'

export interface Column<T> {
  name: string
  numeric?: boolean
  width?: number | string
  cell: (row: T) => ReactNode
}

export function DataTable<T extends { id: string }>({
  rows,
  columns,
}: {
  rows: readonly T[]
  columns: readonly Column<T>[]
}) {
  return (
    <table className="table">
      <thead>
        <tr>
          {columns.map((column) => (
            <th key={column.name} style={{ textAlign: column.numeric ? 'right' : undefined, width: column.width }}>
              {column.name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.id}>
            {columns.map((column) => (
              <td key={column.name} className={column.numeric ? 'number' : undefined}>
                {column.cell(row)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  )
}
