// Drop, choose or paste a file; progress with pause, resume and cancel. After a reload the same file continues.
import { ActionIcon, Group, Progress, Stack, Text } from '@mantine/core'
import { type DragEvent, useEffect, useRef, useState } from 'react'
import type { Upload } from '@/client'
import { bytes, duration, percent } from '@/lib/format'
import { meter } from '@/lib/meter'
import { startUpload, type UploadHandle, type UploadPurpose } from '@/lib/uploads'
import { CrossIcon, PauseIcon, PlayIcon, UploadIcon } from './icons'
import { ProblemPanel } from './states'

interface Transfer {
  file: File
  sent: number
  /** Bytes a second, over the last seconds; null until that is known. */
  speed: number | null
  state: 'sending' | 'offline' | 'paused' | 'finished' | 'failed'
  error?: Error
}

export function UploadPanel({
  projectId,
  purpose,
  accept,
  hint,
  onFinished,
  paste = false,
}: {
  projectId: string
  purpose: UploadPurpose
  accept: string
  hint: string
  onFinished: (upload: Upload, file: File) => void
  /** Take a picture from the clipboard too. */
  paste?: boolean
}) {
  const input = useRef<HTMLInputElement>(null)
  const handle = useRef<UploadHandle | null>(null)
  const [over, setOver] = useState(false)
  const [transfer, setTransfer] = useState<Transfer | null>(null)
  const update = (change: Partial<Transfer>) => setTransfer((t) => t && { ...t, ...change })

  const start = async (file: File) => {
    const speed = meter()
    setTransfer({ file, sent: 0, speed: null, state: 'sending' })
    try {
      handle.current = await startUpload(file, projectId, purpose, {
        onProgress: (sent) => update({ sent, speed: speed(sent, performance.now()), state: 'sending' }),
        onOffline: () => update({ state: 'offline' }),
        onFinished: (upload) => {
          update({ sent: file.size, state: 'finished' })
          onFinished(upload, file)
        },
        onError: (error) => update({ state: 'failed', error }),
      })
    } catch (error) {
      update({ state: 'failed', error: error as Error })
    }
  }
  const startRef = useRef(start)
  startRef.current = start
  useEffect(() => {
    if (!paste) return
    const onPaste = (event: ClipboardEvent) => {
      const file = [...(event.clipboardData?.files ?? [])].find((f) => f.type.startsWith('image/'))
      if (file) void startRef.current(file)
    }
    document.addEventListener('paste', onPaste)
    return () => document.removeEventListener('paste', onPaste)
  }, [paste])

  const drop = (event: DragEvent) => {
    event.preventDefault()
    setOver(false)
    const file = event.dataTransfer.files[0]
    if (file) void start(file)
  }
  const busy = transfer?.state === 'sending' || transfer?.state === 'offline' || transfer?.state === 'paused'
  return (
    <Stack gap={8}>
      <button
        type="button"
        className="dropzone"
        data-over={over || undefined}
        disabled={busy}
        onClick={() => input.current?.click()}
        onDragOver={(event) => {
          event.preventDefault()
          setOver(true)
        }}
        onDragLeave={() => setOver(false)}
        onDrop={drop}
      >
        <Stack gap={4} align="center">
          <UploadIcon size={20} />
          <Text fw={600}>Drop a file here, or choose one{paste ? ', or paste a picture' : ''}</Text>
          <Text size="xs" c="dimmed">
            {hint}
          </Text>
        </Stack>
      </button>
      <input
        ref={input}
        type="file"
        accept={accept}
        hidden
        aria-label={`File to upload: ${purpose}`}
        onChange={(event) => {
          const file = event.currentTarget.files?.[0]
          event.currentTarget.value = ''
          if (file) void start(file)
        }}
      />
      {transfer && (
        <Stack gap={4}>
          <Group gap={8} wrap="nowrap">
            <Text truncate style={{ flex: 1 }}>
              {transfer.file.name}
            </Text>
            <Text size="xs" c="dimmed" className="mono">
              {bytes(transfer.sent)} of {bytes(transfer.file.size)} · {percent(transfer.sent / transfer.file.size, 0)}
              {transfer.state === 'sending' && transfer.speed !== null && transfer.speed > 0
                ? ` · ${bytes(transfer.speed)}/s · ${duration((transfer.file.size - transfer.sent) / transfer.speed)} left`
                : ''}
            </Text>
            {busy && (
              <ActionIcon
                variant="default"
                aria-label={transfer.state === 'paused' ? 'Resume upload' : 'Pause upload'}
                onClick={() => {
                  if (transfer.state === 'paused') handle.current?.resume()
                  else handle.current?.pause()
                  update({ state: transfer.state === 'paused' ? 'sending' : 'paused' })
                }}
              >
                {transfer.state === 'paused' ? <PlayIcon /> : <PauseIcon />}
              </ActionIcon>
            )}
            {busy && (
              <ActionIcon
                variant="default"
                aria-label="Cancel upload"
                onClick={() => {
                  handle.current?.cancel()
                  setTransfer(null)
                }}
              >
                <CrossIcon />
              </ActionIcon>
            )}
          </Group>
          <Progress
            value={(100 * transfer.sent) / transfer.file.size}
            aria-label="Upload progress"
            size="sm"
            color={transfer.state === 'failed' ? 'red' : undefined}
          />
          {transfer.state === 'offline' && (
            <Text size="xs" c="dimmed" role="status">
              There is no network. What was sent is safe; the upload goes on by itself when there is one.
            </Text>
          )}
          {transfer.state === 'paused' && (
            <Text size="xs" c="dimmed">
              Paused. What was sent is safe; after a reload, choose the same file to continue.
            </Text>
          )}
          {transfer.error && <ProblemPanel error={transfer.error} retry={() => void start(transfer.file)} />}
        </Stack>
      )}
    </Stack>
  )
}
