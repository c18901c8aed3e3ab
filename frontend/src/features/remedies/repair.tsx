// Repair: which training images to remove, and how to make the model forget them.
import { Button, Group, NumberInput, Radio, Stack, Text } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { useState } from 'react'
import { type Case, createRemedy, type Finding } from '@/client'
import { JobProgress } from '@/components/job-progress'
import { Empty, Loaded, ProblemPanel } from '@/components/states'
import { body, idempotencyKey } from '@/lib/api'
import { plural } from '@/lib/format'
import { q } from '@/lib/queries'
import { useVerdicts } from '../evidence/use-verdicts'
import { type Method, methodNames, methods } from './methods'
import { Preview } from './preview'
import { RemediesTable } from './remedies-table'
import { countRemoval, type RemovalKind } from './removal'

function RepairForm({ item, finding }: { item: Case; finding: Finding }) {
  const { t } = useSearch({ from: '/app/c/$caseId/repair' })
  const navigate = useNavigate()
  const queries = useQueryClient()
  const columns = useQuery(q.caseColumns(item.id, item.result_digest)).data
  const { verdicts } = useVerdicts(item.id)
  const [kind, setKind] = useState<RemovalKind>(t === undefined ? 'flagged' : 'threshold')
  const [threshold, setThreshold] = useState(t ?? finding.threshold)
  const [method, setMethod] = useState<Method>('cf')
  const [epochs, setEpochs] = useState<number | ''>('')
  const [rate, setRate] = useState<number | ''>('')
  const [seed, setSeed] = useState(0)
  const trains = methods[method].trains
  const [settled] = useDebouncedValue(threshold, 250)
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
            epochs: !trains || epochs === '' ? null : epochs,
            learning_rate: !trains || rate === '' ? null : rate,
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
    <div className="columns" style={{ gridTemplateColumns: 'minmax(0, 1fr) minmax(320px, 420px)' }}>
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
          <Radio.Group label="Method" value={method} onChange={(value) => setMethod(value as Method)}>
            <div
              style={{
                display: 'grid',
                gridTemplateColumns: 'repeat(auto-fill, minmax(260px, 1fr))',
                gap: 12,
                marginTop: 8,
              }}
            >
              {methodNames.map((name) => (
                <Radio key={name} value={name} label={methods[name].title} description={methods[name].how} />
              ))}
            </div>
          </Radio.Group>
          <details>
            <summary>Parameters</summary>
            <Group gap={12} mt={8}>
              <NumberInput
                disabled={!trains}
                label="Epochs"
                placeholder={trains ? 'default' : 'trains nothing'}
                min={1}
                max={300}
                value={epochs}
                onChange={(value) => setEpochs(value === '' ? '' : Number(value))}
                w={140}
              />
              <NumberInput
                disabled={!trains}
                label="Learning rate"
                placeholder={trains ? 'default' : 'trains nothing'}
                min={0}
                max={10}
                step={0.001}
                value={rate}
                onChange={(value) => setRate(value === '' ? '' : Number(value))}
                w={140}
              />
              <NumberInput
                label="Seed"
                min={0}
                value={seed}
                onChange={(value) => setSeed(Number(value) || 0)}
                w={140}
              />
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
      <Preview item={item} kind={kind} threshold={kind === 'threshold' ? settled : null} />
    </div>
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
          <Stack gap={16}>
            <RepairForm item={item} finding={item.finding} />
            <section className="panel" aria-label="Remedies of this case">
              <h2>Remedies of this case</h2>
              <Loaded query={remedies}>
                {(all) =>
                  all.length === 0 ? (
                    <Text c="dimmed">None yet. Several can be made and compared here.</Text>
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
          </Stack>
        )
      }
    </Loaded>
  )
}
