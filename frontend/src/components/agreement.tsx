// How far reviewers agree beyond chance, where more than one has judged.
import { Stack } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import type { Agreement, PairAgreement, ReviewerShare } from '@/client'
import { type Column, DataTable } from '@/components/data-table'
import { HowObtained } from '@/components/derived'
import { Stat } from '@/components/page'
import { count, duration, percent, plural } from '@/lib/format'
import { q } from '@/lib/queries'

const kappa = (value: number | null) => (value === null ? 'none' : value.toFixed(2))

function Measures({ found }: { found: Agreement }) {
  return (
    <div style={{ display: 'grid', gridTemplateColumns: 'repeat(auto-fit, minmax(150px, 1fr))', gap: 16 }}>
      <Stat
        name={
          <>
            Krippendorff’s alpha{' '}
            <HowObtained what="Krippendorff’s alpha">
              One less observed over expected disagreement, over all verdicts on{' '}
              {plural(found.n_shared, 'shared image')}. 1 is complete agreement, 0 what chance would give; .8 is usually
              asked for, .67 is the least.
            </HowObtained>
          </>
        }
        value={kappa(found.krippendorff_alpha)}
        note={`${plural(found.n_shared, 'shared image')}`}
      />
      <Stat
        name={
          <>
            Fleiss’ kappa{' '}
            <HowObtained what="Fleiss’ kappa">
              Over the {plural(found.n_fleiss, 'image')} that {found.fleiss_raters} reviewers each have judged:
              agreement of pairs beyond what the shares of the verdicts would give by chance.
            </HowObtained>
          </>
        }
        value={kappa(found.fleiss_kappa)}
        note={`${found.fleiss_raters} reviewers each`}
      />
      <Stat name="Unanimous" value={count(found.n_unanimous)} note="shared images that all call the same" />
      <Stat name="Conflicts" value={count(found.n_conflicts)} note="poison for one, clean for another" />
    </div>
  )
}

const pairColumns: Column<PairAgreement & { id: string }>[] = [
  { name: 'Pair', cell: (pair) => `${pair.first} and ${pair.second}` },
  { name: 'Shared', numeric: true, cell: (pair) => count(pair.n_shared) },
  { name: 'Agreed', numeric: true, cell: (pair) => count(pair.n_agreed) },
  { name: 'Cohen’s kappa', numeric: true, cell: (pair) => kappa(pair.cohen_kappa) },
]

const reviewerColumns: Column<ReviewerShare & { id: string }>[] = [
  { name: 'Reviewer', cell: (one) => one.reviewer },
  { name: 'Poison', numeric: true, cell: (one) => count(one.n_poison) },
  { name: 'Clean', numeric: true, cell: (one) => count(one.n_clean) },
  { name: 'Unsure', numeric: true, cell: (one) => count(one.n_unsure) },
  {
    name: 'Time for an image',
    numeric: true,
    cell: (one) => (one.seconds_per_image === null ? '–' : duration(one.seconds_per_image)),
  },
]

const controlColumn: Column<ReviewerShare & { id: string }> = {
  name: 'Clean controls called clean',
  numeric: true,
  cell: (one) =>
    one.n_controls_answered
      ? `${one.n_controls_right} of ${one.n_controls_answered} (${percent((one.n_controls_right ?? 0) / one.n_controls_answered, 0)})`
      : '–',
}

export function AgreementPanel({ caseId }: { caseId: string }) {
  const found = useQuery(q.agreement(caseId)).data
  if (found === undefined || found.reviewers.length < 2) return null
  const withControls = found.reviewers.some((one) => one.n_controls_answered)
  return (
    <section className="panel" aria-label="Agreement of the reviewers">
      <h2>Agreement of the reviewers</h2>
      {found.n_shared === 0 ? (
        <p style={{ margin: 0 }}>No image has verdicts of two reviewers yet.</p>
      ) : (
        <Stack gap={16}>
          <Measures found={found} />
          <DataTable
            columns={pairColumns}
            rows={found.pairs
              .filter((pair) => pair.n_shared > 0)
              .map((pair) => ({ ...pair, id: `${pair.first}/${pair.second}` }))}
          />
        </Stack>
      )}
      <div style={{ marginTop: 16 }}>
        <DataTable
          columns={withControls ? [...reviewerColumns, controlColumn] : reviewerColumns}
          rows={found.reviewers.map((one) => ({ ...one, id: one.reviewer }))}
        />
      </div>
      {found.conflicts.length > 0 && (
        <p style={{ margin: '16px 0 0' }}>
          In conflict:{' '}
          {found.conflicts.slice(0, 20).map((index) => (
            <Link
              key={index}
              to="/c/$caseId/evidence"
              params={{ caseId }}
              search={{ tab: 'all', i: index }}
              className="mono"
            >
              {index}{' '}
            </Link>
          ))}
          {found.n_conflicts > 20 && `and ${count(found.n_conflicts - 20)} more`}
        </p>
      )}
    </section>
  )
}
