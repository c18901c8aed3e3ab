/** Lines of `folder, name` (or a tab between them). Lines without a name say nothing. */
export function readClassNames(text: string): Record<string, string> | null {
  const pairs: [string, string][] = []
  for (const line of text.split('\n')) {
    const parts = /^\s*([^\t,]+?)\s*[\t,]\s*(.+?)\s*$/.exec(line)
    if (parts) pairs.push([parts[1], parts[2]])
  }
  return pairs.length > 0 ? Object.fromEntries(pairs) : null
}
