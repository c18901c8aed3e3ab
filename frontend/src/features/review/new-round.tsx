// Opens a round: who judges, how many each image, what is drawn.
import { Button, Checkbox, Group, MultiSelect, NumberInput, Select, Stack, Text, TextInput } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { type Case, createRound, type Member, type RoundCreate } from '@/client'
import { ProblemPanel } from '@/components/states'
import { body, idempotencyKey } from '@/lib/api'
import { useRoundsAgain } from './rounds'

type Form = Required<Omit<RoundCreate, 'due_at' | 'adjudicator'>> & { adjudicator: string | null; due: string }

export function NewRound({ item, members, onDone }: { item: Case; members: Member[]; onDone: () => void }) {
  const again = useRoundsAgain(item.id)
  const people = members.map((m) => ({ value: m.user_id, label: m.name }))
  const [form, setForm] = useState<Form>({
    name: 'Double review',
    reviewers: [],
    reviewers_per_image: 2,
    blind: true,
    images: 'flagged',
    n_certain: 50,
    n_borderline: 50,
    n_controls: 20,
    adjudicator: null,
    due: '',
  })
  const set = (fields: Partial<Form>) => setForm((old) => ({ ...old, ...fields }))
  const open = useMutation({
    mutationFn: () => {
      const { due, ...rest } = form
      return body(
        createRound({
          path: { case_id: item.id },
          body: { ...rest, due_at: due ? new Date(due).toISOString() : null },
          headers: { 'Idempotency-Key': idempotencyKey() },
        }),
      )
    },
    onSuccess: () => {
      again()
      onDone()
    },
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    open.mutate()
  }
  const number = (
    label: string,
    key: 'n_certain' | 'n_borderline' | 'n_controls' | 'reviewers_per_image',
    max: number,
  ) => (
    <NumberInput
      label={label}
      min={key === 'reviewers_per_image' ? 1 : 0}
      max={max}
      value={form[key]}
      onChange={(value) => set({ [key]: Number(value) })}
      w={150}
    />
  )
  return (
    <form className="panel" onSubmit={submit}>
      <h2>New round</h2>
      <Stack gap={12}>
        <Group align="start" gap={16}>
          <TextInput
            label="Name"
            required
            value={form.name}
            onChange={(event) => set({ name: event.currentTarget.value })}
            w={220}
          />
          <MultiSelect
            label="Reviewers"
            required
            data={people}
            value={form.reviewers}
            onChange={(reviewers) => set({ reviewers })}
            w={320}
            searchable
          />
          {number('Reviewers of each image', 'reviewers_per_image', 10)}
          <Select
            label="Decides conflicts"
            data={people}
            value={form.adjudicator}
            onChange={(adjudicator) => set({ adjudicator })}
            clearable
            w={200}
          />
        </Group>
        <Group align="start" gap={16}>
          <Select
            label="Images"
            data={[
              { value: 'flagged', label: 'all flagged' },
              { value: 'sample', label: 'a sample, certain and borderline' },
            ]}
            value={form.images}
            allowDeselect={false}
            onChange={(images) => images && set({ images: images as Form['images'] })}
            w={260}
          />
          {form.images === 'sample' && number('Certain', 'n_certain', 10_000)}
          {form.images === 'sample' && number('Borderline', 'n_borderline', 10_000)}
          {number('Clean controls', 'n_controls', 1_000)}
          <TextInput
            label="Due"
            type="datetime-local"
            value={form.due}
            onChange={(event) => set({ due: event.currentTarget.value })}
            w={220}
          />
        </Group>
        <Checkbox
          label="Blind: until a reviewer has judged all of theirs, they see no score, no verdict of others and no comment of this case"
          checked={form.blind}
          onChange={(event) => set({ blind: event.currentTarget.checked })}
        />
        {form.reviewers.length < form.reviewers_per_image && (
          <Text size="xs" c="dimmed">
            Name at least {form.reviewers_per_image} reviewers.
          </Text>
        )}
        {open.error && <ProblemPanel error={open.error} />}
        <Group gap={8}>
          <Button
            type="submit"
            loading={open.isPending}
            disabled={!form.name || form.reviewers.length < form.reviewers_per_image}
          >
            Open the round
          </Button>
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
        </Group>
      </Stack>
    </form>
  )
}
