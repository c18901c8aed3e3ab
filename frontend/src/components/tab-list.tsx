// Views that take turns: one of several names, as tabs.
export function TabList<T extends string>({
  name,
  tabs,
  chosen,
  onChoose,
}: {
  name: string
  tabs: readonly { value: T; text: string }[]
  chosen: T
  onChoose: (value: T) => void
}) {
  return (
    <div className="tabs" role="tablist" aria-label={name}>
      {tabs.map(({ value, text }) => (
        <button
          key={value}
          type="button"
          role="tab"
          className="tab"
          aria-selected={value === chosen}
          onClick={() => onChoose(value)}
        >
          {text}
        </button>
      ))}
    </div>
  )
}
