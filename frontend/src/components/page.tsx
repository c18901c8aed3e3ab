// The frame of every screen: a title row (what, status, one primary action), then content.
import { type ReactNode, useEffect } from 'react'

export function TitleRow({ title, chip, children }: { title: ReactNode; chip?: ReactNode; children?: ReactNode }) {
  useEffect(() => {
    if (typeof title === 'string') document.title = `${title} · Orfila`
  }, [title])
  return (
    <header className="title-row">
      <h1>{title}</h1>
      {chip}
      {children && <div className="actions">{children}</div>}
    </header>
  )
}

export function Stat({ name, value, note }: { name: ReactNode; value: ReactNode; note?: ReactNode }) {
  return (
    <div className="stat">
      <span className="stat-name">{name}</span>
      <span className="stat-value">{value}</span>
      {note && <span className="stat-note">{note}</span>}
    </div>
  )
}

export function Facts({ items }: { items: [ReactNode, ReactNode][] }) {
  return (
    <dl className="facts">
      {items.map(([name, value], i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the list of facts of a page never reorders
        <div key={i} style={{ display: 'contents' }}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}
