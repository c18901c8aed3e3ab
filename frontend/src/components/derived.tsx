// A derived number never stands alone: a button beside it says how it was obtained.
import { ActionIcon, Popover, Text } from '@mantine/core'
import type { Estimate } from '@/client'
import { interval, share } from '@/lib/format'
import { QuestionIcon } from './icons'

export function HowObtained({ children, what }: { children: React.ReactNode; what: string }) {
  return (
    <Popover width={320} position="bottom" withArrow>
      <Popover.Target>
        <ActionIcon
          variant="subtle"
          color="gray"
          size={16}
          style={{ verticalAlign: 'middle' }}
          aria-label={`How was ${what} obtained?`}
        >
          <QuestionIcon />
        </ActionIcon>
      </Popover.Target>
      <Popover.Dropdown>
        <Text size="xs" component="div">
          {children}
        </Text>
      </Popover.Dropdown>
    </Popover>
  )
}

export function EstimateValue({ estimate, what }: { estimate: Estimate; what: string }) {
  return (
    <span style={{ display: 'inline-flex', alignItems: 'baseline', gap: 6 }}>
      {share(estimate.value)}
      <span className="quiet" style={{ fontSize: 12, fontWeight: 400 }}>
        {interval(estimate.low, estimate.high)}
      </span>
      <span style={{ alignSelf: 'center' }}>
        <HowObtained what={what}>{estimate.method}</HowObtained>
      </span>
    </span>
  )
}
