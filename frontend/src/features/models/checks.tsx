// Whether a model makes the mistakes of closed cases again: asked here, or by a customer's CI through the API.
import { Button, Stack, Text } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { type ClassifierModel, createCheck, type RegressionCheck } from '@/client'
import { HowObtained } from '@/components/derived'
import { JobProgress } from '@/components/job-progress'
import { Loaded, ProblemPanel } from '@/components/states'
import { body, idempotencyKey } from '@/lib/api'
import { className, moment, percent, plural } from '@/lib/format'
import { q } from '@/lib/queries'

const closed = new Set(['verified', 'regressed'])

function Answers({ check, classes }: { check: RegressionCheck; classes: readonly string[] }) {
  const { outcome } = check
  if (!outcome) return null
  return (
    <table className="table">
      <thead>
        <tr>
          <th>Case</th>
          <th>Answer</th>
          <th>Affected images</th>
          <th style={{ textAlign: 'right' }}>Poison success rate</th>
        </tr>
      </thead>
      <tbody>
        {outcome.cases.map((one) => (
          <tr key={one.case_id}>
            <td>
              <Link to="/c/$caseId" params={{ caseId: one.case_id }}>
                {one.name}
              </Link>
            </td>
            <td>{one.passed ? '● holds' : '◆ regressed'}</td>
            <td>
              {one.affected.map((image) => (
                <div key={image.number}>
                  {image.name}: {className(classes, image.predicted)} ({percent(image.confidence, 0)})
                </div>
              ))}
            </td>
            <td className="number">
              {one.psr === null ? '–' : `${percent(one.psr)} of at most ${percent(one.psr_limit ?? 0)}`}
            </td>
          </tr>
        ))}
        {outcome.skipped.map((one) => (
          <tr key={one.case_id}>
            <td>
              <Link to="/c/$caseId" params={{ caseId: one.case_id }}>
                {one.name}
              </Link>
            </td>
            <td className="quiet">not asked</td>
            <td colSpan={2} className="quiet">
              {one.reason}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

export function ChecksPanel({ model, classes }: { model: ClassifierModel; classes: readonly string[] }) {
  const queries = useQueryClient()
  const checks = useQuery(q.checks(model.id))
  const cases = useQuery(q.cases(model.project_id)).data?.items ?? []
  const n = cases.filter((item) => closed.has(item.state)).length
  const ask = useMutation({
    mutationFn: () =>
      body(createCheck({ path: { model_id: model.id }, body: {}, headers: { 'Idempotency-Key': idempotencyKey() } })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ['model', model.id, 'checks'] }),
  })
  return (
    <section className="panel" aria-label="Checks">
      <div className="panel-head">
        <h2>
          Checks{' '}
          <HowObtained what="a check">
            Each closed case asks the model about its affected images: none may receive the wrong label of the case, and
            each must receive its true one where that is known. Where triggered images are there, the poison success
            rate may be one percentage point above what the verified repair left.
          </HowObtained>
        </h2>
        <Button variant="default" size="xs" disabled={n === 0} loading={ask.isPending} onClick={() => ask.mutate()}>
          {n === 0 ? 'No closed case to check against' : `Check against ${plural(n, 'closed case')}`}
        </Button>
      </div>
      <Stack gap={16}>
        {ask.error && <ProblemPanel error={ask.error} />}
        <Loaded query={checks}>
          {(all) =>
            all.length === 0 ? (
              <Text c="dimmed">
                Not checked yet. A case closes when a repair is verified; from then on it can hold every later model to
                its mistake, here or from CI by POST /api/v1/models/{'{id}'}/checks.
              </Text>
            ) : (
              all.slice(0, 5).map((check) => (
                <div key={check.id}>
                  <Text size="sm" fw={600}>
                    {check.outcome?.sentence ?? check.error ?? 'Asking the model…'}
                  </Text>
                  <Text size="xs" c="dimmed" mb={4}>
                    {moment(check.created_at)}, asked by {check.created_by}
                  </Text>
                  {check.state === 'running' && check.job_id && <JobProgress jobId={check.job_id} />}
                  <Answers check={check} classes={classes} />
                </div>
              ))
            )
          }
        </Loaded>
      </Stack>
    </section>
  )
}
