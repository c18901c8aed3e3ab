// The affected images that were chosen for a new case, wherever they come from.
import { Button, Select, Stack, Text } from '@mantine/core'
import type { ReactNode } from 'react'
import type { AffectedSource, Case, Dataset } from '@/client'
import { CrossIcon } from '@/components/icons'
import { Mark } from '@/components/marks'
import { PixelImage } from '@/components/pixel-image'
import { address } from '@/lib/api'
import { className } from '@/lib/format'

export interface Dropped {
  uploadId: string
  name: string
  preview: string
  trueLabel: number | null
}

/** One chosen image: what the API is told, and what people are shown. */
export interface Choice {
  source: AffectedSource
  key: string
  label: string
  picture: string
  remove: () => void
  /** For a picture of one's own: say what it really shows. */
  onTrueLabel?: (label: number | null) => void
}

export function choices({
  dataset,
  triggered,
  former,
  tests,
  carriers,
  dropped,
  kept,
  set,
}: {
  dataset: Dataset
  triggered: Dataset | undefined
  former: Case | undefined
  tests: number[]
  carriers: number[]
  dropped: Dropped[]
  /** Numbers of the former case's images that are taken over. */
  kept: number[]
  set: {
    tests: (tests: number[]) => void
    carriers: (carriers: number[]) => void
    dropped: (dropped: Dropped[]) => void
    kept: (kept: number[]) => void
  }
}): Choice[] {
  const without = <T,>(all: T[], one: T) => all.filter((other) => other !== one)
  return [
    ...(former ? kept : []).map((number) => ({
      source: { of_case: { case_id: former?.id ?? '', number } },
      key: `case ${number}`,
      label: former?.affected[number]?.name ?? `image ${number}`,
      picture: address.affected(former?.id ?? '', number),
      remove: () => set.kept(without(kept, number)),
    })),
    ...tests.map((index) => ({
      source: { test_index: index },
      key: `test ${index}`,
      label: `test image ${index}`,
      picture: address.pixels(dataset.id, index),
      remove: () => set.tests(without(tests, index)),
    })),
    ...(triggered ? carriers : []).map((index) => ({
      source: { triggered_index: index },
      key: `triggered ${index}`,
      label: `triggered image ${index}`,
      picture: address.pixels(triggered?.id ?? '', index),
      remove: () => set.carriers(without(carriers, index)),
    })),
    ...dropped.map((d) => ({
      source: { upload_id: d.uploadId, true_label: d.trueLabel },
      key: d.uploadId,
      label: d.name,
      picture: d.preview,
      remove: () => set.dropped(without(dropped, d)),
      onTrueLabel: (label: number | null) =>
        set.dropped(dropped.map((other) => (other === d ? { ...d, trueLabel: label } : other))),
    })),
  ]
}

function Row({ choice, children }: { choice: Choice; children: ReactNode }) {
  return (
    <div style={{ display: 'flex', gap: 8, alignItems: 'center' }}>
      <PixelImage src={choice.picture} alt={choice.label} size={64} />
      <div style={{ fontSize: 12, minWidth: 0, overflowWrap: 'anywhere' }}>
        <Mark kind="affected" /> {choice.label}
        {children}
      </div>
      <Button
        size="compact-xs"
        variant="subtle"
        color="gray"
        aria-label={`Remove ${choice.label}`}
        onClick={choice.remove}
        ml="auto"
      >
        <CrossIcon />
      </Button>
    </div>
  )
}

export function ChosenImages({
  chosen,
  classes,
  predictions,
}: {
  chosen: Choice[]
  classes: readonly string[]
  /** What the model says of each, where that is known before the run. */
  predictions: (number | null)[]
}) {
  return (
    <section className="panel">
      <h2>{chosen.length > 1 ? `${chosen.length} affected images` : 'Affected image'}</h2>
      <Stack gap={8}>
        {chosen.length === 0 && (
          <Text c="dimmed">None chosen yet. Several with one symptom can be given together.</Text>
        )}
        {chosen.map((choice, i) => (
          <Row key={choice.key} choice={choice}>
            {typeof predictions[i] === 'number' && <div>seen as {className(classes, predictions[i])}</div>}
            {choice.onTrueLabel && (
              <Select
                aria-label={`What ${choice.label} really shows`}
                size="xs"
                placeholder="really shows…"
                clearable
                data={classes.map((c, label) => ({ value: String(label), label: c }))}
                value={typeof choice.source.true_label === 'number' ? String(choice.source.true_label) : null}
                onChange={(value) => choice.onTrueLabel?.(value === null ? null : Number(value))}
              />
            )}
          </Row>
        ))}
      </Stack>
    </section>
  )
}
