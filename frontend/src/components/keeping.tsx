// Keep as evidence, or delete for good: the same for data sets and models.
import { Button, Group, Stack, Text } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import { ProblemPanel } from './states'

export function Keeping({
  what,
  preserved,
  consequence,
  condition,
  onPreserve,
  onDelete,
}: {
  /** "data set", "model" */
  what: string
  preserved: boolean
  /** The words on the button that deletes. */
  consequence: string
  /** Which of them can be deleted. */
  condition: string
  onPreserve: (preserved: boolean) => Promise<unknown>
  onDelete: () => Promise<unknown>
}) {
  const [asked, setAsked] = useState(false)
  const preserve = useMutation({ mutationFn: onPreserve })
  const remove = useMutation({ mutationFn: onDelete })
  const error = preserve.error ?? remove.error
  return (
    <Stack gap={8}>
      <Group gap={12}>
        <Button
          size="xs"
          variant="default"
          aria-pressed={preserved}
          loading={preserve.isPending}
          onClick={() => {
            setAsked(false)
            preserve.mutate(!preserved)
          }}
        >
          {preserved ? 'Preserved as evidence: lift' : 'Preserve as evidence'}
        </Button>
        {!preserved &&
          (asked ? (
            <>
              <Button size="xs" color="red.9" loading={remove.isPending} onClick={() => remove.mutate()}>
                {consequence}
              </Button>
              <Button size="xs" variant="default" onClick={() => setAsked(false)}>
                Keep it
              </Button>
            </>
          ) : (
            <Button size="xs" variant="default" onClick={() => setAsked(true)}>
              Delete this {what}
            </Button>
          ))}
        <Text size="xs" c="dimmed">
          {preserved ? `Nobody can delete the ${what} until this is lifted; both are in the audit.` : condition}
        </Text>
      </Group>
      {error && <ProblemPanel error={error} />}
    </Stack>
  )
}
