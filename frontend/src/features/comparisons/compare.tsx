// Other detectors on the same affected images: what they flag, what they share with the case, and how right they are.
import { Button, Checkbox, Group, Stack, Text } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useParams } from '@tanstack/react-router'
import { useState } from 'react'
import { type Case, type Comparison, createComparison, type Detector, type DetectorRow, type Measured } from '@/client'
import { EstimateValue, HowObtained } from '@/components/derived'
import { JobProgress } from '@/components/job-progress'
import { Empty, Loaded, ProblemPanel } from '@/components/states'
import { StateChip } from '@/components/status'
import { address, body, idempotencyKey } from '@/lib/api'
import { ago, count, duration, plural } from '@/lib/format'
import { q } from '@/lib/queries'

function Start({ caseId, detectors, busy }: { caseId: string; detectors: Detector[]; busy: boolean }) {
  const queries = useQueryClient()
  const [chosen, setChosen] = useState<string[]>(detectors.map((d) => d.name))
  const start = useMutation({
    mutationFn: () =>
      body(
        createComparison({
          path: { case_id: caseId },
          body: { detectors: chosen },
          headers: { 'Idempotency-Key': idempotencyKey() },
        }),
      ),
    onSuccess: () => void queries.invalidateQueries({ queryKey: ['case', caseId, 'comparisons'] }),
  })
  return (
    <section className="panel">
      <h2>Compare detectors</h2>
      <Stack gap={16}>
        <Checkbox.Group aria-label="Detectors" value={chosen} onChange={setChosen}>
          <div style={{ display: 'grid', gridTemplateColumns: 'repeat(auto-fill, minmax(280px, 1fr))', gap: 12 }}>
            {detectors.map((d) => (
              <Checkbox key={d.name} value={d.name} label={d.title} description={d.source} />
            ))}
          </div>
        </Checkbox.Group>
        {start.error && <ProblemPanel error={start.error} />}
        <Group gap={12}>
          <Button loading={start.isPending} disabled={busy || chosen.length === 0} onClick={() => start.mutate()}>
            {`Run ${plural(chosen.length, 'detector')}`}
          </Button>
          <Text size="xs" c="dimmed">
            Each with its published settings, on the same affected images. The finding of the case stays as it is.
          </Text>
        </Group>
      </Stack>
    </section>
  )
}

function Cells({ measured }: { measured: Measured | null }) {
  if (!measured) {
    return (
      <>
        <td className="number">–</td>
        <td className="number">–</td>
        <td className="number">–</td>
        <td className="number">–</td>
      </>
    )
  }
  return (
    <>
      <td className="number">{count(measured.n_flagged)}</td>
      <td className="number">{count(measured.n_shared)}</td>
      <td className="number">
        <EstimateValue estimate={measured.precision} what="precision" />
      </td>
      <td className="number">
        <EstimateValue estimate={measured.recall} what="recall" />
      </td>
    </>
  )
}

function Row({ row }: { row: DetectorRow }) {
  return (
    <tr>
      <td>
        <strong style={{ fontWeight: 600 }}>{row.title}</strong>
        <div className="quiet" style={{ fontSize: 12 }}>
          {row.source}
        </div>
        {(row.error || row.note) && <div style={{ fontSize: 12 }}>◐ {row.error || row.note}</div>}
      </td>
      <Cells measured={row.all_classes} />
      <Cells measured={row.label} />
      <td className="number">{duration(row.seconds)}</td>
    </tr>
  )
}

const basis: Record<Comparison['basis'], (n: number) => string> = {
  truth: (n) => `measured on the ${plural(n, 'image')} that the drill planted`,
  verdicts: (n) => `measured on the ${plural(n, 'image')} that reviewers decided on`,
  none: () => 'nothing to measure on yet: verdicts, or the truth of a drill, give precision and recall',
}

function Result({ comparison, label }: { comparison: Comparison; label: string }) {
  const parts = ['Flagged', 'Shared', 'Precision', 'Recall']
  return (
    <section className="panel" aria-label="Detectors side by side">
      <div className="panel-head">
        <h2>
          Detectors side by side{' '}
          <span className="quiet" style={{ fontWeight: 400 }}>
            {basis[comparison.basis](comparison.n_known)}
          </span>
        </h2>
        <span className="quiet" style={{ fontSize: 12 }}>
          {ago(comparison.created_at)} by {comparison.created_by} ·{' '}
          <a href={address.comparison(comparison.id)} download>
            comparison.parquet
          </a>
        </span>
      </div>
      <div style={{ overflowX: 'auto' }}>
        <table className="table">
          <thead>
            <tr>
              <th rowSpan={2}>Detector</th>
              <th colSpan={4} style={{ textAlign: 'center' }}>
                All classes{' '}
                <HowObtained what="this column">The detector's answer as it is, over every training image.</HowObtained>
              </th>
              <th colSpan={4} style={{ textAlign: 'center' }}>
                Only images labelled {label}{' '}
                <HowObtained what="this column">
                  The same answer for somebody who also knows the label that the affected image receives.
                </HowObtained>
              </th>
              <th rowSpan={2} style={{ textAlign: 'right' }}>
                Time
              </th>
            </tr>
            <tr>
              {['a', 'l'].flatMap((group) =>
                parts.map((name) => (
                  <th key={group + name} style={{ textAlign: 'right' }}>
                    {name}
                  </th>
                )),
              )}
            </tr>
          </thead>
          <tbody>
            {comparison.rows.map((row) => (
              <Row key={row.detector} row={row} />
            ))}
          </tbody>
        </table>
      </div>
      <Text size="xs" c="dimmed" mt={8}>
        Shared: images that the case flags as well.
        {Object.entries(comparison.shared_seconds).map(
          ([part, seconds]) => ` ${part.replaceAll('_', ' ')}: ${duration(seconds)}, once for all.`,
        )}
      </Text>
    </section>
  )
}

function Comparisons({ item, label }: { item: Case; label: string }) {
  const detectors = useQuery(q.detectors())
  const comparisons = useQuery({
    ...q.comparisons(item.id),
    refetchInterval: (state) => (state.state.data?.some((c) => c.state === 'running') ? 2000 : false),
  })
  return (
    <Loaded query={comparisons}>
      {(all) => {
        const running = all.find((c) => c.state === 'running')
        const last = all.find((c) => c.rows.length > 0)
        const ended = all[0]?.state === 'failed' || all[0]?.state === 'cancelled' ? all[0] : undefined
        return (
          <Stack gap={16}>
            {running?.job_id && (
              <section className="panel">
                <JobProgress jobId={running.job_id} />
              </section>
            )}
            {ended && (
              <section className="panel">
                <StateChip state={ended.state} /> {ended.error}
                {ended.job_id && <JobProgress jobId={ended.job_id} />}
              </section>
            )}
            {last && <Result comparison={last} label={label} />}
            <Loaded query={detectors}>
              {(known) => <Start caseId={item.id} detectors={known} busy={running !== undefined} />}
            </Loaded>
          </Stack>
        )
      }}
    </Loaded>
  )
}

export function CompareScreen() {
  const { caseId } = useParams({ from: '/app/c/$caseId' })
  const query = useQuery(q.case(caseId))
  const dataset = useQuery({ ...q.dataset(query.data?.dataset_id ?? ''), enabled: query.data !== undefined }).data
  return (
    <Loaded query={query}>
      {(item) =>
        item.finding === null ? (
          <section className="panel">
            <Empty>A comparison needs a finding first.</Empty>
          </section>
        ) : (
          <Comparisons item={item} label={dataset?.classes[item.finding.predicted] ?? 'so'} />
        )
      }
    </Loaded>
  )
}
