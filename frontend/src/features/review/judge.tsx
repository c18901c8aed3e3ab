// One image after the other, with the keyboard alone: a reviewer's part of a round, or the conflicts of a round.
import { Progress, Stack, Text } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useParams, useSearch } from '@tanstack/react-router'
import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { type Case, type QueueImage, type Round, resolveConflict } from '@/client'
import { Mark } from '@/components/marks'
import { PixelImage } from '@/components/pixel-image'
import { Empty, Loaded, ProblemPanel } from '@/components/states'
import { VerdictButtons } from '@/features/evidence/inspector'
import { useVerdicts } from '@/features/evidence/use-verdicts'
import { address, body } from '@/lib/api'
import { keyName, useBindings } from '@/lib/bindings'
import { className, count, plural } from '@/lib/format'
import { isTyping, keyAction } from '@/lib/keys'
import { q } from '@/lib/queries'
import type { VerdictValue } from '@/lib/verdicts'

/** Of the image, CSS pixels; a phone has less room. */
const SIZE = Math.min(384, window.innerWidth - 64)
/** So many images are loaded ahead, so that nobody waits for the next one. */
const AHEAD = 8

interface Judging {
  images: number[]
  verdictOf: (index: number) => VerdictValue | null
  judge: (index: number, verdict: VerdictValue | null) => void
  undo?: () => void
  redo?: () => void
  note?: (index: number) => string
}

function Desk({ item, round, judging }: { item: Case; round: Round; judging: Judging }) {
  const { images, verdictOf, judge, undo, redo, note } = judging
  const queries = useQueryClient()
  const keys = useBindings((state) => state.keys)
  const [place, setPlace] = useState(0)
  const asked = useRef(new Set<number>())
  const index = images[Math.min(place, images.length - 1)]
  const dataset = useQuery(q.dataset(item.dataset_id)).data
  const label = useQuery({ ...q.image(item.dataset_id, index ?? 0), enabled: index !== undefined }).data?.label
  const done = images.filter((i) => verdictOf(i) !== null).length

  const decide = useCallback(
    (verdict: VerdictValue | null, advance = true) => {
      if (index === undefined) return
      judge(index, verdict)
      if (advance) setPlace((p) => Math.min(p + 1, images.length - 1))
    },
    [index, images.length, judge],
  )
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (isTyping(event.target)) return
      const action = keyAction(event, useBindings.getState().keys)
      if (!action) return
      const go = (by: number) => setPlace((p) => Math.max(0, Math.min(p + by, images.length - 1)))
      if (action.kind === 'verdict') decide(action.verdict, action.advance)
      else if (action.kind === 'undecided') go(action.step)
      else if (action.kind === 'move' && (action.by === 'left' || action.by === 'up')) go(-1)
      else if (action.kind === 'move' && (action.by === 'right' || action.by === 'down')) go(1)
      else if (action.kind === 'undo') undo?.()
      else if (action.kind === 'redo') redo?.()
      else return
      event.preventDefault()
    }
    window.addEventListener('keydown', onKey)
    return () => window.removeEventListener('keydown', onKey)
  }, [decide, images.length, undo, redo])
  useEffect(() => {
    for (const next of images.slice(place + 1, place + 1 + AHEAD)) {
      if (asked.current.has(next)) continue
      asked.current.add(next)
      new Image().src = address.pixels(item.dataset_id, next)
      void queries.prefetchQuery(q.image(item.dataset_id, next))
    }
  }, [images, place, item.dataset_id, queries])

  if (index === undefined) return null
  const affected = item.affected[0]
  return (
    <section className="panel" aria-label="Image to judge">
      <Stack gap={16}>
        <div>
          <Progress value={(100 * done) / images.length} aria-label="Judged of these images" />
          <Text size="xs" c="dimmed" mt={4} role="status">
            {count(done)} of {count(images.length)} judged · image {count(place + 1)}
          </Text>
        </div>
        <div style={{ display: 'flex', gap: 24, flexWrap: 'wrap' }}>
          <figure style={{ margin: 0 }}>
            <PixelImage
              key={index}
              src={address.pixels(item.dataset_id, index)}
              alt={`Training image ${index}`}
              size={SIZE}
            />
            <figcaption style={{ marginTop: 8 }}>
              training image <span className="mono">{index}</span>
              {label !== undefined && dataset && <> · labelled {className(dataset.classes, label)}</>}
              {note && <div className="quiet">{note(index)}</div>}
            </figcaption>
          </figure>
          {affected && (
            <figure style={{ margin: 0 }}>
              <PixelImage src={address.affected(item.id, affected.number)} alt="Affected image" size={SIZE / 2} />
              <figcaption style={{ marginTop: 8, display: 'flex', gap: 6, alignItems: 'center' }}>
                <Mark kind="affected" /> affected image
              </figcaption>
            </figure>
          )}
        </div>
        <div className="desk-buttons">
          <VerdictButtons verdict={verdictOf(index)} targets={1} onJudge={(verdict) => decide(verdict)} />
        </div>
        <Text size="xs" c="dimmed" className="keys-only">
          {keyName(keys.poison)} poison, {keyName(keys.clean)} clean, {keyName(keys.unsure)} unsure,{' '}
          {keyName(keys['take-back'])} takes it back; {keyName(keys.next)} and {keyName(keys.previous)}, or the arrows,
          go on and back
          {undo ? '; Ctrl Z undoes' : ''}.
        </Text>
        {round.blind && (
          <Text size="xs" c="dimmed">
            You judge blind: the rest of the case is shown when you have judged all of yours.
          </Text>
        )}
      </Stack>
    </section>
  )
}

function Mine({ item, round, images }: { item: Case; round: Round; images: QueueImage[] }) {
  const { verdicts, judge, undo, redo } = useVerdicts(item.id)
  const judging = useMemo<Judging>(
    () => ({
      images: images.map((image) => image.index),
      verdictOf: (index) => verdicts.get(index) ?? null,
      judge: (index, verdict) => judge([index], verdict),
      undo,
      redo,
    }),
    [images, verdicts, judge, undo, redo],
  )
  return <Desk item={item} round={round} judging={judging} />
}

function Conflicts({ item, round, images }: { item: Case; round: Round; images: QueueImage[] }) {
  const queries = useQueryClient()
  const said = useQuery(q.resolutions(item.id)).data ?? []
  const decide = useMutation({
    mutationFn: (given: { index: number; verdict: VerdictValue | null }) =>
      body(resolveConflict({ path: { case_id: item.id }, body: given })),
    onSettled: () => void queries.invalidateQueries({ queryKey: ['case', item.id] }),
  })
  const { mutate } = decide
  const judging = useMemo<Judging>(() => {
    const final = new Map(said.map((each) => [each.index, each.verdict]))
    const votes = new Map(images.map((image) => [image.index, image.verdicts ?? {}]))
    return {
      images: images.map((image) => image.index),
      verdictOf: (index) => final.get(index) ?? null,
      judge: (index, verdict) => mutate({ index, verdict }),
      note: (index) =>
        Object.entries(votes.get(index) ?? {})
          .map(([verdict, n]) => `${n} ${verdict}`)
          .join(', ') || 'not judged yet',
    }
  }, [images, said, mutate])
  return (
    <Stack gap={16}>
      {decide.error && <ProblemPanel error={decide.error} />}
      <Desk item={item} round={round} judging={judging} />
    </Stack>
  )
}

const titles = { mine: 'my images', second: 'second opinions', conflicts: 'conflicts', controls: 'clean controls' }
const nothing = {
  mine: 'Nothing is left for you in this round.',
  second: 'No image waits for a second opinion of yours.',
  conflicts: 'No conflict is left to decide.',
  controls: 'This round has no controls.',
}

export function JudgeScreen() {
  const { caseId, roundId } = useParams({ from: '/app/c/$caseId/rounds/$roundId' })
  const { queue: kind = 'mine' } = useSearch({ from: '/app/c/$caseId/rounds/$roundId' })
  const item = useQuery(q.case(caseId)).data
  const round = useQuery(q.round(roundId))
  // As it was when one sat down: what is judged stays in its place, to be looked at again.
  const queue = useQuery({ ...q.roundQueue(roundId, kind), staleTime: Number.POSITIVE_INFINITY, gcTime: 0 })
  const back = (
    <Link to="/c/$caseId/review" params={{ caseId }}>
      Back to the review
    </Link>
  )
  if (!item) return null
  return (
    <Stack gap={16}>
      <Loaded query={round}>
        {(found) => (
          <>
            <div style={{ display: 'flex', gap: 16, alignItems: 'baseline' }}>
              <h2 style={{ margin: 0 }}>
                {found.name} <span className="quiet">{titles[kind]}</span>
              </h2>
              {back}
            </div>
            <Loaded query={queue}>
              {(todo) =>
                todo.images.length === 0 ? (
                  <section className="panel">
                    <Empty action={back}>{nothing[kind]}</Empty>
                  </section>
                ) : (
                  <>
                    {kind === 'conflicts' || kind === 'controls' ? (
                      <Conflicts item={item} round={found} images={todo.images} />
                    ) : (
                      <Mine item={item} round={found} images={todo.images} />
                    )}
                    {todo.n > todo.images.length && (
                      <Text size="xs" c="dimmed">
                        {count(todo.images.length)} of {plural(todo.n, 'image')} shown; the others follow.
                      </Text>
                    )}
                  </>
                )
              }
            </Loaded>
          </>
        )}
      </Loaded>
    </Stack>
  )
}
