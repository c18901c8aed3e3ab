// Where a text mentions somebody, as the server has found it.
export interface Part {
  text: string
  mention: boolean
}

/** The text in parts; what @ and one of the names make together is a mention. */
export function splitMentions(text: string, names: readonly string[]): Part[] {
  if (names.length === 0) return [{ text, mention: false }]
  const longest = [...names].sort((a, b) => b.length - a.length)
  const pattern = longest.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|')
  return text
    .split(new RegExp(`(@(?:${pattern}))`, 'i'))
    .flatMap((part, i) => (part ? [{ text: part, mention: i % 2 === 1 }] : []))
}
