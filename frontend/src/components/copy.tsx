// Copying: digests, the address of a view, the same question as a curl command or a Python program.
import { ActionIcon, Button, CopyButton, Group, Menu, Tooltip, UnstyledButton } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import { shortDigest } from '@/lib/format'
import { asCurl, asPython } from '@/lib/snippets'
import { LinkIcon } from './icons'

export function Digest({ value, what = 'digest' }: { value: string | null | undefined; what?: string }) {
  if (!value) return <span className="quiet">–</span>
  return (
    <CopyButton value={value}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? 'Copied' : value}>
          <UnstyledButton className="mono" onClick={copy} aria-label={`${shortDigest(value)}…, copy ${what}`}>
            {shortDigest(value)}…
          </UnstyledButton>
        </Tooltip>
      )}
    </CopyButton>
  )
}

function copyText(text: string, what: string) {
  navigator.clipboard.writeText(text).then(
    () => notifications.show({ message: `${what} copied` }),
    () => notifications.show({ message: `The browser did not allow copying: ${text}`, color: 'red' }),
  )
}

/** A line that has to be handed on, and a button that copies it. */
export function CopyLine({ text }: { text: string }) {
  return (
    <Group gap={12} wrap="nowrap">
      <code className="mono" style={{ overflowWrap: 'anywhere' }}>
        {text}
      </code>
      <CopyButton value={text}>
        {({ copied, copy }) => (
          <Button size="xs" variant="default" onClick={copy} style={{ flexShrink: 0 }}>
            {copied ? 'Copied' : 'Copy'}
          </Button>
        )}
      </CopyButton>
    </Group>
  )
}

/** `path`: the API address that answers what this view shows. */
export function CopyMenu({ path }: { path: string }) {
  const { origin } = window.location
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size={36} aria-label="Copy link, curl or Python">
          <LinkIcon />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item onClick={() => copyText(window.location.href, 'Link')}>Link to this view</Menu.Item>
        <Menu.Item onClick={() => copyText(asCurl(origin, path), 'curl command')}>As curl</Menu.Item>
        <Menu.Item onClick={() => copyText(asPython(origin, path), 'Python program')}>As Python</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  )
}
