// Everything to hand on: the report for people, the numbers for programs, and the bundle that proves both.
import { Button, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useParams } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { CopyLine, Digest } from '@/components/copy'
import { Facts } from '@/components/page'
import { Empty, Loaded } from '@/components/states'
import { address } from '@/lib/api'
import { count, moment } from '@/lib/format'
import { q } from '@/lib/queries'

function Download({ href, name, children }: { href: string; name: string; children: ReactNode }) {
  return (
    <tr>
      <td style={{ whiteSpace: 'nowrap' }}>
        <a href={href} download>
          {name}
        </a>
      </td>
      <td>{children}</td>
    </tr>
  )
}

export function ReportScreen() {
  const { caseId } = useParams({ from: '/app/c/$caseId' })
  const item = useQuery(q.case(caseId)).data
  const report = useQuery({ ...q.report(caseId), enabled: Boolean(item?.finding), retry: false })
  if (!item?.finding) {
    return (
      <section className="panel">
        <Empty>A report can be written when every training image is scored.</Empty>
      </section>
    )
  }
  const file = `case-${item.number}-bundle.zip`
  return (
    <Stack gap={16}>
      <section className="panel">
        <div className="panel-head">
          <h2>Report</h2>
          <Button
            renderRoot={(props) => (
              <a href={address.report(caseId, 'html')} target="_blank" rel="noreferrer" {...props} />
            )}
          >
            Open the report
          </Button>
        </div>
        <Loaded query={report}>
          {(found) => (
            <Facts
              items={[
                ['Finding', found.case.finding?.sentence ?? '–'],
                ['Flagged', `${count(found.flagged.length)} images, ${count(found.review.n_flagged_judged)} judged`],
                ['Repairs', count(found.remedies.length)],
                ['Data set', <Digest key="d" value={found.dataset.digest} what="digest of the data set" />],
                ['Model', <Digest key="m" value={found.model.sha256} what="digest of the weights" />],
                ['Result', <Digest key="r" value={found.case.result_digest} what="digest of the result" />],
                [
                  'Audit trail',
                  <span key="a">
                    {count(found.audit.n_of_case)} events of this case; head{' '}
                    <Digest value={found.audit.head} what="head of the audit trail" />
                  </span>,
                ],
                ['As of', moment(found.made_at)],
              ]}
            />
          )}
        </Loaded>
      </section>
      <section className="panel">
        <h2>Take along</h2>
        <table className="table">
          <tbody>
            <Download href={`${address.report(caseId, 'html')}?download=true`} name="report.html">
              One file that opens without network: finding, images, review, repairs, digests.
            </Download>
            <Download href={address.report(caseId, 'pdf')} name="report.pdf">
              The same on paper.
            </Download>
            <Download href={address.report(caseId)} name="report.json">
              The same for programs, under the names of the API.
            </Download>
            <Download href={address.flagged(caseId)} name="flagged.csv">
              The flagged images with scores and verdicts; <code>orfila unlearn</code> and <code>orfila train</code>{' '}
              take it.
            </Download>
            <Download href={address.scores(caseId)} name="scores.parquet">
              Every training image with all of its scores.
            </Download>
            <Download href={address.export(caseId, 'cleanlab.csv')} name="cleanlab.csv">
              Every training image in cleanlab’s columns of label issues.
            </Download>
            <Download href={address.export(caseId, 'fiftyone.json')} name="fiftyone.json">
              The suspects as FiftyOne samples, to be merged by file path.
            </Download>
          </tbody>
        </table>
      </section>
      <section className="panel">
        <div className="panel-head">
          <h2>Proof</h2>
          <Button
            variant="default"
            renderRoot={(props) => <a href={address.export(caseId, 'bundle.zip')} download {...props} />}
          >
            Download the bundle
          </Button>
        </div>
        <Text maw={640} mb={12}>
          The bundle holds the data, the model, the affected images and everything that was computed, each with its
          digest. Anybody who has Orfila can check it, and run the investigation again, without this server:
        </Text>
        <CopyLine text={`orfila verify-bundle ${file}`} />
      </section>
    </Stack>
  )
}
