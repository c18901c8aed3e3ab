// A new drill: the clean data set, the attack with its settings, and what is trained on it.
import { Button, Group, NumberInput, Radio, Select, Stack, Switch, Text, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { type ReactNode, useState } from 'react'
import { type Attack, type AttackOption, createDrill, type Dataset, type DrillCreate } from '@/client'
import { Facts, TitleRow } from '@/components/page'
import { Empty, Loaded, ProblemPanel } from '@/components/states'
import { body, idempotencyKey } from '@/lib/api'
import { count, percent, plural } from '@/lib/format'
import { q } from '@/lib/queries'
import { compact } from '@/lib/search'

type Values = Record<string, number | boolean>

function Option({
  option,
  value,
  onChange,
}: {
  option: AttackOption
  value: number | boolean | undefined
  onChange: (value: number | boolean | undefined) => void
}) {
  if (option.kind === 'switch') {
    return (
      <Switch
        label={option.title}
        description={option.description}
        checked={(value ?? option.default) === true}
        onChange={(event) => onChange(event.currentTarget.checked)}
      />
    )
  }
  return (
    <NumberInput
      label={option.title}
      description={option.description}
      placeholder={option.default === null ? 'by seed' : String(option.default)}
      min={option.minimum ?? undefined}
      max={option.maximum ?? undefined}
      step={option.kind === 'integer' ? 1 : 0.1}
      allowDecimal={option.kind !== 'integer'}
      value={typeof value === 'number' ? value : ''}
      onChange={(typed) => onChange(typed === '' ? undefined : Number(typed))}
      maw={360}
    />
  )
}

function AttackChoice({
  attacks,
  attack,
  onAttack,
  values,
  onValues,
}: {
  attacks: Attack[]
  attack: Attack
  onAttack: (name: string) => void
  values: Values
  onValues: (values: Values) => void
}) {
  return (
    <Stack gap={16}>
      <Radio.Group aria-label="Attack" value={attack.name} onChange={onAttack}>
        <div style={{ display: 'grid', gridTemplateColumns: 'repeat(auto-fill, minmax(280px, 1fr))', gap: 12 }}>
          {attacks.map((a) => (
            <Radio
              key={a.name}
              value={a.name}
              label={a.clean_label ? `${a.title} · clean label` : a.title}
              description={a.description}
            />
          ))}
        </div>
      </Radio.Group>
      {attack.options.length > 0 && (
        <fieldset style={{ border: '1px solid var(--line)', borderRadius: 6, padding: 16, margin: 0 }}>
          <legend style={{ padding: '0 8px' }}>Settings of {attack.title}</legend>
          <Stack gap={12}>
            {attack.options.map((option) => (
              <Option
                key={option.name}
                option={option}
                value={values[option.name]}
                onChange={(value) => onValues(compact({ ...values, [option.name]: value }) as Values)}
              />
            ))}
          </Stack>
        </fieldset>
      )}
    </Stack>
  )
}

function ClassSelect({
  label,
  dataset,
  value,
  onChange,
}: {
  label: string
  dataset: Dataset
  value: number | null
  onChange: (value: number | null) => void
}) {
  return (
    <Select
      label={label}
      placeholder="by seed"
      clearable
      searchable
      data={dataset.classes.map((name, i) => ({ value: String(i), label: name }))}
      value={value === null ? null : String(value)}
      onChange={(chosen) => onChange(chosen === null ? null : Number(chosen))}
      w={140}
    />
  )
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="panel" aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  )
}

function Form({ projectId, attacks, datasets }: { projectId: string; attacks: Attack[]; datasets: Dataset[] }) {
  const search = useSearch({ from: '/app/p/$projectId/drills/new' })
  const navigate = useNavigate({ from: '/p/$projectId/drills/new' })
  const queries = useQueryClient()
  const architectures = useQuery(q.architectures()).data ?? []
  const set = (change: Partial<typeof search>) =>
    void navigate({ search: (old) => compact({ ...old, ...change }), replace: true, resetScroll: false })
  // The largest: small sets beside it hold triggered pictures, as a rule.
  const largest = datasets.reduce((best, d) => (d.n_train > best.n_train ? d : best), datasets[0])
  const dataset = datasets.find((d) => d.id === search.dataset) ?? largest
  const attack = attacks.find((a) => a.name === search.attack) ?? attacks[0]
  const small = Math.max(dataset.width ?? 0, dataset.height ?? 0) <= 28
  const [values, setValues] = useState<Values>({})
  const [rate, setRate] = useState<number | null>(null)
  const [source, setSource] = useState<number | null>(null)
  const [target, setTarget] = useState<number | null>(null)
  const [architecture, setArchitecture] = useState<string | null>(null)
  const [epochs, setEpochs] = useState(20)
  const [seed, setSeed] = useState(0)
  const [nAffected, setNAffected] = useState(1)
  const [typedName, setTypedName] = useState<string | null>(null)
  const share = rate ?? attack.typical_rate
  const suggested = `${attack.title} in ${dataset.name}`.slice(0, 120)
  const question: DrillCreate = {
    name: typedName || suggested,
    dataset_id: dataset.id,
    attack: attack.name,
    rate: share,
    source,
    target,
    options: values,
    architecture: architecture ?? (small ? 'resnet-nano' : 'resnet20-cifar'),
    epochs,
    seed,
    n_affected: nAffected,
  }
  const start = useMutation({
    mutationFn: () =>
      body(
        createDrill({
          path: { project_id: projectId },
          body: question,
          headers: { 'Idempotency-Key': idempotencyKey() },
        }),
      ),
    onSuccess: (drill) => {
      void queries.invalidateQueries({ queryKey: ['drills'] })
      void queries.invalidateQueries({ queryKey: ['projects'] })
      void navigate({ to: '/p/$projectId/drills/$drillId', params: { projectId, drillId: drill.id } })
    },
  })
  return (
    <>
      <TitleRow title="New drill">
        <Button loading={start.isPending} onClick={() => start.mutate()}>
          Start drill
        </Button>
      </TitleRow>
      <div className="columns" style={{ gridTemplateColumns: 'minmax(0, 1fr) 320px' }}>
        <Stack gap={16}>
          <Part title="Which poison?">
            <AttackChoice
              attacks={attacks}
              attack={attack}
              onAttack={(name) => {
                setValues({})
                setRate(null)
                set({ attack: name })
              }}
              values={values}
              onValues={setValues}
            />
          </Part>
          <Part title="Where is it planted?">
            <Group align="end" gap={12}>
              <Select
                label="Clean data set"
                description="A copy of it is poisoned; it stays as it is"
                data={datasets.map((d) => ({ value: d.id, label: d.name }))}
                value={dataset.id}
                onChange={(id) => {
                  setSource(null)
                  setTarget(null)
                  set({ dataset: id ?? undefined })
                }}
                style={{ flex: 1, minWidth: 240 }}
              />
              <NumberInput
                label="Rate"
                suffix=" %"
                min={0.01}
                max={99}
                step={0.5}
                decimalScale={2}
                value={100 * share}
                onChange={(value) => setRate(value === '' ? null : Number(value) / 100)}
                w={110}
              />
              <ClassSelect label="Victim class" dataset={dataset} value={source} onChange={setSource} />
              <ClassSelect label="Target label" dataset={dataset} value={target} onChange={setTarget} />
            </Group>
          </Part>
          <Part title="What is trained on it?">
            <Group align="end" gap={12}>
              <Select
                label="Architecture"
                data={architectures.map((a) => ({ value: a.name, label: `${a.name}: ${a.description}` }))}
                value={question.architecture}
                onChange={setArchitecture}
                searchable
                style={{ flex: 1, minWidth: 280 }}
              />
              <NumberInput
                label="Epochs"
                min={1}
                max={300}
                value={epochs}
                onChange={(value) => setEpochs(Number(value) || 20)}
                w={110}
              />
              <NumberInput
                label="Affected images"
                min={1}
                max={16}
                value={nAffected}
                onChange={(value) => setNAffected(Number(value) || 1)}
                w={140}
              />
              <NumberInput
                label="Seed"
                min={0}
                value={seed}
                onChange={(value) => setSeed(Number(value) || 0)}
                w={110}
              />
            </Group>
          </Part>
        </Stack>
        <section className="panel" style={{ position: 'sticky', top: 16 }}>
          <h2>Before you start</h2>
          <Stack gap={12}>
            <TextInput
              label="Name of the drill"
              required
              value={typedName ?? suggested}
              onChange={(event) => setTypedName(event.currentTarget.value)}
            />
            <Facts
              items={[
                ['Poisons', `${count(Math.round(share * dataset.n_train))} of ${count(dataset.n_train)}`],
                ['Share', percent(share)],
                ['Labels', attack.clean_label ? 'all stay right' : 'the poisoned ones are wrong'],
                ['Then', `${plural(epochs, 'epoch')} of training, an index, an investigation`],
              ]}
            />
            <Text size="xs" c="dimmed">
              The poisoned data set, the triggered images and the model join the project, so that a case can be opened
              on them.
            </Text>
            {start.error && <ProblemPanel error={start.error} />}
          </Stack>
        </section>
      </div>
    </>
  )
}

export function NewDrillScreen() {
  const { projectId } = useParams({ from: '/app/p/$projectId/drills/new' })
  const attacks = useQuery(q.attacks())
  const datasets = useQuery(q.datasets(projectId))
  return (
    <div className="page">
      <Loaded query={attacks}>
        {(known) => (
          <Loaded query={datasets}>
            {({ items }) => {
              const clean = items.filter((d) => d.state === 'ready' && d.parent_id === null && d.drill_id === null)
              return clean.length > 0 ? (
                <Form projectId={projectId} attacks={known} datasets={clean} />
              ) : (
                <section className="panel">
                  <Empty
                    action={
                      <Link to="/p/$projectId/datasets" params={{ projectId }}>
                        Add a data set
                      </Link>
                    }
                  >
                    A drill needs a clean data set to poison a copy of.
                  </Empty>
                </section>
              )
            }}
          </Loaded>
        )}
      </Loaded>
    </div>
  )
}
