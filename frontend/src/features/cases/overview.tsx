// The finding: the answer in one sentence, how sure it is, how each number was obtained, and where the case stands.
import { Button, Group, Stack, Text } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { type Case, type Finding, type SharedMark, updateCase } from '@/client'
import { AgreementPanel } from '@/components/agreement'
import { Digest } from '@/components/copy'
import { EstimateValue, HowObtained } from '@/components/derived'
import { JobProgress } from '@/components/job-progress'
import { Facts, Stat } from '@/components/page'
import { Pipeline } from '@/components/pipeline'
import { Portraits } from '@/components/portraits'
import { Empty, Loaded, ProblemPanel } from '@/components/states'
import { EvidenceChip } from '@/components/status'
import { TransformHeat } from '@/components/transform-heat'
import { Comments } from '@/features/talk/comments'
import { address, body, toProblem } from '@/lib/api'
import { count, duration, moment, percent, plural, pValue, score, share } from '@/lib/format'
import { q } from '@/lib/queries'
import { compact } from '@/lib/search'
import { AffectedPanel } from './affected-panel'
import { EarlyLookPanel } from './early-look'
import { RelatedCases } from './related'

/** Two questions, and the p-value is that of the one that is less sure. */
function EvidenceNotes({ finding }: { finding: Finding }) {
  if (typeof finding.p_group !== 'number') {
    return (
      <>
        Made by an earlier version: statistic {score(finding.statistic)}, compared with {finding.n_reference} ordinary
        test images.
      </>
    )
  }
  return (
    <>
      <p style={{ margin: 0 }}>
        Is the group the training data's alone? It holds {percent(finding.share_suspects)} of the suspects
        {typeof finding.share_counterparts === 'number'
          ? ` and ${percent(finding.share_counterparts)} of ${plural(finding.n_counterparts ?? 0, 'test image')} with the same label`
          : ''}
        : {pValue(finding.p_group)}.
      </p>
      {typeof finding.p_image === 'number' && (
        <p style={{ margin: '8px 0 0' }}>
          Does the affected image belong to it? Compared with {plural(finding.n_reference, 'test image')} of other
          labels: {pValue(finding.p_image)}.
        </p>
      )}
      <p style={{ margin: '8px 0 0' }}>
        {typeof finding.share_counterparts === 'number'
          ? 'The larger one counts. Strict: at most .01; poisoning found: at most .05; weak evidence: at most .2.'
          : 'Too few test images have this label to tell the first, so that the second counts, as weak evidence at most.'}
      </p>
    </>
  )
}

function SharedMarkNote({ mark }: { mark: SharedMark }) {
  return (
    <p style={{ margin: '0 0 12px', maxWidth: 880 }}>
      {mark.sentence}{' '}
      <HowObtained what="the shared mark">
        The energy of each picture by fineness of detail and colour. A linear discriminant learns it from the images
        that the gradients call poison, and nobody is scored by one that has seen it. {share(mark.share_suspects)} of
        the suspects have the mark; that so few test images do by chance: {pValue(mark.p_value)}. Posteriors join the
        collapse score and the mark, and the first question behind the p-value of the finding is asked of both.
      </HowObtained>
    </p>
  )
}

function FindingPanel({ item, finding }: { item: Case; finding: Finding }) {
  const review = useQuery(q.review(item.id)).data
  return (
    <section className="panel" aria-label="Finding">
      <div style={{ display: 'flex', gap: 12, alignItems: 'baseline', flexWrap: 'wrap' }}>
        <EvidenceChip level={finding.evidence} strict={finding.level === 'strict'} />
        <span className="mono">{pValue(finding.p_value)}</span>
        <HowObtained what="the p-value">
          <EvidenceNotes finding={finding} />
        </HowObtained>
      </div>
      <p style={{ fontSize: 20, lineHeight: '28px', margin: '12px 0 20px', maxWidth: 880 }}>{finding.sentence}</p>
      <div style={{ display: 'grid', gridTemplateColumns: 'repeat(auto-fit, minmax(150px, 1fr))', gap: 16 }}>
        <Stat
          name={
            <>
              Flagged{' '}
              <HowObtained what="the flagged set">
                Suspects whose posterior probability of being poison is above {finding.threshold.toFixed(2)}. The
                paper's rule would flag {count(finding.n_flagged_paper)}.
              </HowObtained>
            </>
          }
          value={count(finding.n_flagged)}
          note={`of ${count(finding.n_suspects)} suspects`}
        />
        <Stat
          name="Precision"
          value={<EstimateValue estimate={review?.precision ?? finding.precision} what="precision" />}
          note="share of the flagged that are poison"
        />
        <Stat
          name="Recall"
          value={<EstimateValue estimate={review?.recall ?? finding.recall} what="recall" />}
          note="share of the poison that is flagged"
        />
        <Stat name="Paper rule" value={count(finding.n_flagged_paper)} note="flagged, for comparison" />
      </div>
      {finding.warnings?.map((warning) => (
        <p key={warning} style={{ margin: '16px 0 0' }}>
          ◐ {warning}
        </p>
      ))}
      {finding.n_flagged > 0 && (
        <>
          <h2 style={{ fontSize: 14, margin: '20px 0 8px' }}>What the flagged images share</h2>
          {finding.mark && <SharedMarkNote mark={finding.mark} />}
          <Portraits caseId={item.id} result={item.result_digest} size={96} />
        </>
      )}
    </section>
  )
}

function Transforms({ item }: { item: Case }) {
  return (
    <section className="panel">
      <h2>Which transforms break the link</h2>
      <TransformHeat caseId={item.id} result={item.result_digest} height={300} />
    </section>
  )
}

const engineName: Record<Case['engine'], string> = {
  fingerprint: 'gradient fingerprints',
  ekfac: 'EK-FAC, exact gradients',
}
const ruleName: Record<Case['rule'], string> = { collapse: 'collapse rule', paper: 'paper rule' }

/** Where the model comes from a drill, its truth is a click away. */
function drillOf(item: Case): [string, ReactNode][] {
  if (!item.drill_id) return []
  return [
    [
      'Model',
      <Link key="d" to="/p/$projectId/drills/$drillId" params={{ projectId: item.project_id, drillId: item.drill_id }}>
        made by a drill
      </Link>,
    ],
  ]
}

function Provenance({ item, finding }: { item: Case; finding: Finding }) {
  return (
    <section className="panel">
      <h2>How this was made</h2>
      <Facts
        items={[
          ['Engine', engineName[item.engine]],
          ['Rule', ruleName[item.rule]],
          ...drillOf(item),
          ['Queries', `${item.n_queries} transformed for each affected image, seed ${item.seed}`],
          ['Result', <Digest key="r" value={item.result_digest} what="digest of the result" />],
          ...Object.entries(finding.seconds).map(([phase, seconds]): [string, string] => [
            phase.replaceAll('_', ' '),
            duration(seconds),
          ]),
          ['Opened', `${moment(item.created_at)} by ${item.created_by}`],
          [
            'Export',
            <span key="e" style={{ display: 'flex', gap: 12 }}>
              <a href={address.flagged(item.id)} download>
                flagged.csv
              </a>
              <a href={address.scores(item.id)} download>
                scores.parquet
              </a>
            </span>,
          ],
        ]}
      />
    </section>
  )
}

function Again({ item }: { item: Case }) {
  return (
    <Button
      size="xs"
      variant="default"
      renderRoot={(props) => (
        <Link
          to="/p/$projectId/cases/new"
          params={{ projectId: item.project_id }}
          search={compact({ model: item.model_id, of: item.id, triggered: item.triggered_dataset_id ?? undefined })}
          {...props}
        />
      )}
    >
      Investigate again
    </Button>
  )
}

function Archive({ item }: { item: Case }) {
  const queries = useQueryClient()
  const archived = item.state === 'archived'
  const change = useMutation({
    mutationFn: () => body(updateCase({ path: { case_id: item.id }, body: { archived: !archived } })),
    onSuccess: () => {
      void queries.invalidateQueries({ queryKey: ['case', item.id] })
      void queries.invalidateQueries({ queryKey: ['cases'] })
    },
  })
  return (
    <Group gap={12}>
      <Again item={item} />
      {item.finding && (
        <Button
          size="xs"
          variant="default"
          renderRoot={(props) => <Link to="/compare" search={{ a: item.id }} {...props} />}
        >
          Compare with another case
        </Button>
      )}
      <Button size="xs" variant="default" loading={change.isPending} onClick={() => change.mutate()}>
        {archived ? 'Restore this case' : 'Archive this case'}
      </Button>
      <Text size="xs" c="dimmed">
        {archived
          ? 'It goes back to where it stood.'
          : 'Another engine, rule or more affected images make a new case. Archiving deletes nothing.'}
      </Text>
      {change.error && <ProblemPanel error={change.error} />}
    </Group>
  )
}

export function OverviewScreen() {
  const { caseId } = useParams({ from: '/app/c/$caseId' })
  const query = useQuery(q.case(caseId))
  const item = query.data
  const dataset = useQuery({ ...q.dataset(item?.dataset_id ?? ''), enabled: item !== undefined }).data
  const reviewQuery = useQuery({ ...q.review(caseId), enabled: Boolean(item?.finding), retry: false })
  const review = reviewQuery.data
  const blind = reviewQuery.error !== null && toProblem(reviewQuery.error).code === 'blind'
  const remedies = useQuery(q.remedies(caseId)).data ?? []
  return (
    <Loaded query={query}>
      {(found) => (
        <Stack gap={16}>
          <Pipeline item={found} review={review} remedies={remedies} />
          <div
            className="columns"
            style={{ gridTemplateColumns: 'minmax(220px, max-content) minmax(0, 1fr)', alignItems: 'stretch' }}
          >
            <AffectedPanel item={found} classes={dataset?.classes ?? []} size={found.affected.length > 1 ? 96 : 224} />
            {blind ? (
              <section className="panel">
                <Empty
                  action={
                    <Link to="/c/$caseId/review" params={{ caseId }}>
                      Go to your images
                    </Link>
                  }
                >
                  You judge this case blind. The finding, scores, others' verdicts and comments are shown when you have
                  judged your images.
                </Empty>
              </section>
            ) : found.finding ? (
              <FindingPanel item={found} finding={found.finding} />
            ) : (
              <section className="panel">
                <h2>{found.state === 'failed' ? 'No finding' : 'Scoring every training image'}</h2>
                {found.error && <Text mb={12}>{found.error}</Text>}
                {found.job_id && <JobProgress jobId={found.job_id} />}
                {found.state === 'scoring' && <EarlyLookPanel item={found} />}
              </section>
            )}
          </div>
          {found.finding && !blind && (
            <div className="columns" style={{ gridTemplateColumns: 'minmax(0, 1fr) minmax(300px, 400px)' }}>
              <Transforms item={found} />
              <Provenance item={found} finding={found.finding} />
            </div>
          )}
          {found.finding && !blind && <RelatedCases caseId={found.id} />}
          {found.finding && !blind && <AgreementPanel caseId={found.id} />}
          {!blind && (
            <section className="panel">
              <h2>Comments</h2>
              <Comments caseId={found.id} />
            </section>
          )}
          <Archive item={found} />
        </Stack>
      )}
    </Loaded>
  )
}
