// How far the review is, what it says of the flagged set, and where to go on.
import { Progress, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import { EstimateValue } from '@/components/derived'
import { VerdictChip } from '@/components/marks'
import { Stat } from '@/components/page'
import { Empty, Loaded } from '@/components/states'
import { toProblem } from '@/lib/api'
import { ago, count, percent } from '@/lib/format'
import { q } from '@/lib/queries'
import { Rounds } from './rounds'

export function ReviewScreen() {
  const { caseId } = useParams({ from: '/app/c/$caseId' })
  const item = useQuery(q.case(caseId)).data
  const review = useQuery({ ...q.review(caseId), enabled: Boolean(item?.finding) })
  const verdicts = useQuery({ ...q.verdicts(caseId), enabled: Boolean(item?.finding) })
  if (!item?.finding) {
    return (
      <section className="panel">
        <Empty>The review starts when every training image is scored.</Empty>
      </section>
    )
  }
  if (review.error && toProblem(review.error).code === 'blind') {
    return <Rounds item={item} />
  }
  return (
    <Stack gap={16}>
      <Rounds item={item} />
      <section className="panel">
        <h2>Review of the flagged images</h2>
        <Loaded query={review}>
          {(progress) => (
            <Stack gap={16}>
              <div>
                <Progress
                  value={progress.n_flagged > 0 ? (100 * progress.n_flagged_judged) / progress.n_flagged : 0}
                  aria-label="Flagged images judged"
                />
                <Text size="xs" c="dimmed" mt={4}>
                  {count(progress.n_flagged_judged)} of {count(progress.n_flagged)} flagged images judged (
                  {percent(progress.n_flagged > 0 ? progress.n_flagged_judged / progress.n_flagged : 0, 0)})
                  {progress.answers_to_5_percent !== null &&
                    progress.answers_to_5_percent > 0 &&
                    ` · ${count(progress.answers_to_5_percent)} more answers give ±.05`}
                </Text>
              </div>
              <div style={{ display: 'grid', gridTemplateColumns: 'repeat(auto-fit, minmax(140px, 1fr))', gap: 16 }}>
                <Stat name="Precision" value={<EstimateValue estimate={progress.precision} what="precision" />} />
                <Stat name="Recall" value={<EstimateValue estimate={progress.recall} what="recall" />} />
                <Stat name="Poison" value={count(progress.n_poison)} />
                <Stat name="Clean" value={count(progress.n_clean)} />
                <Stat name="Unsure" value={count(progress.n_unsure)} />
              </div>
              <div style={{ display: 'flex', gap: 16 }}>
                <Link to="/c/$caseId/evidence" params={{ caseId }} search={{ tab: 'flagged', verdict: 'none' }}>
                  Judge the next undecided
                </Link>
                <Link to="/c/$caseId/evidence" params={{ caseId }} search={{ tab: 'all', verdict: 'unsure' }}>
                  Look again at the unsure
                </Link>
              </div>
            </Stack>
          )}
        </Loaded>
      </section>
      <section className="panel">
        <h2>Latest verdicts</h2>
        <Loaded query={verdicts}>
          {(all) =>
            all.length === 0 ? (
              <Text c="dimmed">No verdict yet.</Text>
            ) : (
              <table className="table">
                <thead>
                  <tr>
                    <th style={{ textAlign: 'right', width: 100 }}>Image</th>
                    <th>Verdict</th>
                    <th>Reviewer</th>
                    <th>When</th>
                  </tr>
                </thead>
                <tbody>
                  {[...all]
                    .sort((a, b) => b.at.localeCompare(a.at))
                    .slice(0, 50)
                    .map((verdict) => (
                      <tr key={`${verdict.index}-${verdict.reviewer}`}>
                        <td className="number">
                          <Link to="/c/$caseId/evidence" params={{ caseId }} search={{ tab: 'all', i: verdict.index }}>
                            {verdict.index}
                          </Link>
                        </td>
                        <td>
                          <VerdictChip verdict={verdict.verdict} />
                        </td>
                        <td>{verdict.reviewer}</td>
                        <td>{ago(verdict.at)}</td>
                      </tr>
                    ))}
                </tbody>
              </table>
            )
          }
        </Loaded>
        {verdicts.data && verdicts.data.length > 50 && (
          <Text size="xs" c="dimmed" mt={8}>
            50 of {count(verdicts.data.length)} shown.
          </Text>
        )}
      </section>
    </Stack>
  )
}
