// All jobs, newest first.
import { Stack } from '@mantine/core'
import { useInfiniteQuery } from '@tanstack/react-query'
import { CopyMenu } from '@/components/copy'
import { JobIcon } from '@/components/icons'
import { isActive } from '@/components/job-progress'
import { More } from '@/components/more'
import { TitleRow } from '@/components/page'
import { Empty, Loaded } from '@/components/states'
import { q } from '@/lib/queries'
import { JobsTable } from './jobs-table'
import { Workers } from './workers'

export function JobsScreen() {
  const jobs = useInfiniteQuery({
    ...q.jobs(),
    refetchInterval: (state) => (state.state.data?.pages.some((p) => p.items.some(isActive)) ? 3000 : false),
  })
  return (
    <div className="page">
      <TitleRow title="Jobs">
        <CopyMenu path="/api/v1/jobs" />
      </TitleRow>
      <Stack gap={16}>
        <section className="panel">
          <Loaded query={jobs}>
            {(page) =>
              page.items.length > 0 ? (
                <>
                  <JobsTable jobs={page.items} />
                  <More query={jobs} shown={page.items.length} />
                </>
              ) : (
                <Empty icon={<JobIcon />}>
                  No job yet. Reading a data set, checking a model and investigating are jobs.
                </Empty>
              )
            }
          </Loaded>
        </section>
        <Workers />
      </Stack>
    </div>
  )
}
