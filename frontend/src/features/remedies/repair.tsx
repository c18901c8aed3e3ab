// Repair: which training images to remove, and how to make the model forget them.
import { Button, Group, NumberInput, Radio, Stack, Text } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { useState } from 'react'
import { type Case, createRemedy, type Finding, type Remedy, type RemedyCreate } from '@/client'
import { JobProgress } from '@/components/job-progress'
import { Empty, Loaded, ProblemPanel } from '@/components/states'
import { StateChip } from '@/components/status'
import { body, idempotencyKey } from '@/lib/api'
import { ago, count, plural } from '@/lib/format'
import { q } from '@/lib/queries'
import { useVerdicts } from '../evidence/use-verdicts'
import { countRemoval, type RemovalKind } from './removal'

function RepairForm({ item, finding }: { item: Case; finding: Finding }) {
  const { t } = useSearch({ from: '/app/c/$caseId/repair' })
  const navigate = useNavigate()
  const queries = useQueryClient()
  const columns = useQuery(q.caseColumns(item.id)).data
  const { verdicts } = useVerdicts(item.id)
  const [kind, setKind] = useState<RemovalKind>(t === undefined ? 'flagged' : 'threshold')
  const [threshold, setThreshold] = useState(t ?? finding.threshold)
  const [method, setMethod] = useState<RemedyCreate['method']>('cf')
  const [epochs, setEpochs] = useState<number | ''>('')
  const [rate, setRate] = useState<number | ''>('')
  const [seed, setSeed] = useState(0)
  const size = (of: RemovalKind) => (columns ? countRemoval(columns, verdicts, of, threshold) : null)
  const n = size(kind)
  const create = useMutation({
    mutationFn: () =>
      body(
        createRemedy({
          path: { case_id: item.id },
          body: {
            method,
            remove: { kind, threshold: kind === 'threshold' ? threshold : null },
            epochs: epochs === '' ? null : epochs,
            learning_rate: rate === '' ? null : rate,
            seed,
          },
          headers: { 'Idempotency-Key': idempotencyKey() },
        }),
      ),
    onSuccess: (remedy) => {
      void queries.invalidateQueries({ queryKey: ['case', item.id] })
      void navigate({ to: '/c/$caseId/verify', params: { caseId: item.id }, search: { remedy: remedy.id } })
    },
  })
  const sized = (of: RemovalKind) => (size(of) === null ? '' : ` (${plural(size(of) ?? 0, 'image')})`)
  return (
    <section className="panel">
      <h2>Repair the model</h2>
      <Stack gap={16}>
        <Radio.Group label="Remove" value={kind} onChange={(value) => setKind(value as RemovalKind)}>
          <Stack gap={8} mt={8}>
            <Radio
              value="flagged"
              label={`The flagged set, corrected by verdicts${sized('flagged')}`}
              description="Less the images judged clean, plus those judged poison."
            />
            <Radio
              value="poison_verdicts"
              label={`Only images judged poison${sized('poison_verdicts')}`}
              description="Nothing that nobody looked at."
            />
            <Radio
              value="threshold"
              label={`Everything above another threshold, corrected by verdicts${sized('threshold')}`}
            />
            {kind === 'threshold' && (
              <NumberInput
                aria-label="Posterior above"
                min={0}
                max={1}
                step={0.01}
                decimalScale={4}
                value={threshold}
                onChange={(value) => setThreshold(Number(value))}
                w={160}
                ml={32}
              />
            )}
          </Stack>
        </Radio.Group>
        <Radio.Group label="Method" value={method} onChange={(value) => setMethod(value as typeof method)}>
          <Stack gap={8} mt={8}>
            <Radio
              value="cf"
              label="Fine-tune on the kept images (CF)"
              description="Catastrophic forgetting: quick, and best in accuracy in the paper's nine settings."
            />
            <Radio
              value="eu"
              label="Retrain from scratch without them (EU)"
              description="Exact unlearning: the removed images never touch the new weights."
            />
          </Stack>
        </Radio.Group>
        <details>
          <summary>Parameters</summary>
          <Group gap={12} mt={8}>
            <NumberInput
              label="Epochs"
              placeholder="as trained"
              min={1}
              max={300}
              value={epochs}
              onChange={(value) => setEpochs(value === '' ? '' : Number(value))}
              w={140}
            />
            <NumberInput
              label="Learning rate"
              placeholder="default"
              min={0}
              max={10}
              step={0.001}
              value={rate}
              onChange={(value) => setRate(value === '' ? '' : Number(value))}
              w={140}
            />
            <NumberInput label="Seed" min={0} value={seed} onChange={(value) => setSeed(Number(value) || 0)} w={140} />
          </Group>
        </details>
        {create.error && <ProblemPanel error={create.error} />}
        <Group gap={12}>
          <Button loading={create.isPending} disabled={n === 0} onClick={() => create.mutate()}>
            {n === null ? 'Repair and verify' : `Remove ${plural(n, 'image')} and verify`}
          </Button>
          <Text size="xs" c="dimmed">
            Model and data set stay as they are: a repaired model and a cleansed version are made beside them.
          </Text>
        </Group>
      </Stack>
    </section>
  )
}

function RemedyRow({ remedy, shown }: { remedy: Remedy; shown: boolean }) {
  return (
    <tr aria-current={shown || undefined} style={shown ? { background: 'var(--faint)' } : undefined}>
      <td>
        <Link to="/c/$caseId/verify" params={{ caseId: remedy.case_id }} search={{ remedy: remedy.id }}>
          {remedy.method === 'cf' ? 'Fine-tuned (CF)' : 'Retrained (EU)'}
        </Link>
      </td>
      <td>
        <StateChip state={remedy.state} />
      </td>
      <td className="number">{count(remedy.n_removed)}</td>
      <td className="number">
        {remedy.verification ? `${(100 * remedy.verification.accuracy_after).toFixed(1)} %` : '–'}
      </td>
      <td className="number">
        {typeof remedy.verification?.psr_after === 'number'
          ? `${(100 * remedy.verification.psr_after).toFixed(1)} %`
          : '–'}
      </td>
      <td>{ago(remedy.created_at)}</td>
    </tr>
  )
}

/** `shown`: the remedy that the page is about, if it is about one. */
export function RemediesTable({ remedies, shown }: { remedies: Remedy[]; shown?: string }) {
  return (
    <table className="table">
      <thead>
        <tr>
          <th>Remedy</th>
          <th>State</th>
          <th style={{ textAlign: 'right' }}>Removed</th>
          <th style={{ textAlign: 'right' }}>Accuracy after</th>
          <th style={{ textAlign: 'right' }}>PSR after</th>
          <th>When</th>
        </tr>
      </thead>
      <tbody>
        {remedies.map((remedy) => (
          <RemedyRow key={remedy.id} remedy={remedy} shown={remedy.id === shown} />
        ))}
      </tbody>
    </table>
  )
}

export function RepairScreen() {
  const { caseId } = useParams({ from: '/app/c/$caseId' })
  const query = useQuery(q.case(caseId))
  const remedies = useQuery(q.remedies(caseId))
  return (
    <Loaded query={query}>
      {(item) =>
        item.finding === null ? (
          <section className="panel">
            <Empty>A repair needs a finding first.</Empty>
          </section>
        ) : (
          <div className="columns" style={{ gridTemplateColumns: 'minmax(0, 1fr) minmax(0, 1fr)' }}>
            <RepairForm item={item} finding={item.finding} />
            <section className="panel">
              <h2>Remedies of this case</h2>
              <Loaded query={remedies}>
                {(all) =>
                  all.length === 0 ? (
                    <Text c="dimmed">None yet. Several can be made and compared.</Text>
                  ) : (
                    <Stack gap={16}>
                      {all
                        .filter((r) => r.state === 'running')
                        .map((r) => (
                          <JobProgress key={r.id} jobId={r.job_id} />
                        ))}
                      <RemediesTable remedies={all} />
                    </Stack>
                  )
                }
              </Loaded>
            </section>
          </div>
        )
      }
    </Loaded>
  )
}
