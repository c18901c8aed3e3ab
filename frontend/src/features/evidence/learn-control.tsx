// The button that lets the scores learn from verdicts, and the switch that presses it by itself.
import { Loader, Switch } from '@mantine/core'
import { memo } from 'react'
import type { Finding } from '@/client'
import { HowObtained } from '@/components/derived'
import { keyName, useBindings } from '@/lib/bindings'
import { plural } from '@/lib/format'
import { nLearned } from '@/lib/learning'
import type { useLearning } from './use-learning'

export const LearnControl = memo(function LearnControl({
  finding,
  learning,
}: {
  finding: Finding
  learning: ReturnType<typeof useLearning>
}) {
  const { toLearn, learn, isLearning, auto, setAuto } = learning
  const learned = nLearned(finding)
  const key = useBindings((state) => state.keys.learn)
  return (
    <div className="learn" role="group" aria-label="Learning from verdicts">
      {isLearning ? (
        <span className="learn-state" role="status">
          <Loader size={12} /> Learning…
        </span>
      ) : toLearn > 0 ? (
        <button type="button" className="tab" aria-keyshortcuts={keyName(key)} onClick={learn}>
          Learn from {plural(toLearn, 'verdict')} <kbd>{keyName(key)}</kbd>
        </button>
      ) : (
        <span className="learn-state quiet">
          {learned > 0 ? `Learned from ${plural(learned, 'verdict')}` : 'No verdicts to learn from'}
        </span>
      )}
      <Switch
        size="xs"
        label="as I go"
        aria-label="Learn as I go"
        checked={auto}
        onChange={(event) => setAuto(event.currentTarget.checked)}
      />
      <HowObtained what="learning from verdicts">
        Each verdict fixes its image's side; direction, posteriors and the flagged set are fitted again with it. Unsure
        verdicts and those that reviewers disagree on do not count. The p-value stays as it was measured.
      </HowObtained>
    </div>
  )
})
