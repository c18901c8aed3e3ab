// The keys of workbench and review, as this person likes them. This browser remembers them.
import { Button, Group, Stack, Text, VisuallyHidden } from '@mantine/core'
import { type KeyboardEvent, useState } from 'react'
import { TitleRow } from '@/components/page'
import { type Command, commandNames, commands, defaults, keyName, useBindings, whyNot } from '@/lib/bindings'
import { SettingsTabs } from './tabs'

function Row({ name }: { name: Command }) {
  const { keys, bind } = useBindings()
  const [isAsking, setAsking] = useState(false)
  const [problem, setProblem] = useState<string | null>(null)
  const press = (event: KeyboardEvent) => {
    if (!isAsking || event.ctrlKey || event.metaKey || event.altKey || event.key === 'Tab' || event.key === 'Shift')
      return
    event.preventDefault()
    const key = event.key.toLowerCase()
    const why = event.key === 'Escape' ? null : whyNot(keys, name, key)
    setProblem(why)
    if (why === null) {
      if (event.key !== 'Escape') bind(name, key)
      setAsking(false)
    }
  }
  return (
    <tr>
      <td>{commands[name].does}</td>
      <td style={{ width: 180 }}>
        <Button
          size="compact-sm"
          variant="default"
          aria-label={`${isAsking ? 'Press a key…' : keyName(keys[name])} for: ${commands[name].does}`}
          onClick={() => setAsking(true)}
          onBlur={() => {
            setAsking(false)
            setProblem(null)
          }}
          onKeyDown={press}
        >
          {isAsking ? 'Press a key…' : <kbd>{keyName(keys[name])}</kbd>}
        </Button>
      </td>
      <td role="status" style={{ color: 'var(--poison)' }}>
        {problem}
      </td>
    </tr>
  )
}

export function KeysScreen() {
  const { keys, reset } = useBindings()
  const isChanged = commandNames.some((name) => keys[name] !== defaults[name])
  return (
    <div className="page">
      <TitleRow title="Settings" chip={<SettingsTabs />} />
      <section className="panel">
        <h2>Keys</h2>
        <Stack gap={12}>
          <Text c="dimmed" size="sm">
            Choose a button, then press a letter or a digit. Arrows, Space, Escape and what is pressed with Ctrl stay as
            they are. This browser remembers your keys.
          </Text>
          <table className="table">
            <thead>
              <tr>
                <th>What it does</th>
                <th>Key</th>
                <th>
                  <VisuallyHidden>What is wrong with it</VisuallyHidden>
                </th>
              </tr>
            </thead>
            <tbody>
              {commandNames.map((name) => (
                <Row key={name} name={name} />
              ))}
            </tbody>
          </table>
          <Group>
            <Button size="xs" variant="default" disabled={!isChanged} onClick={reset}>
              Back to the first keys
            </Button>
          </Group>
        </Stack>
      </section>
    </div>
  )
}
