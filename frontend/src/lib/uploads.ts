// A resumable upload (tus 1.0) of one file: create, send, pause, resume; after a reload the same file continues.
import { Upload as TusUpload } from 'tus-js-client'
import { createUpload, getUpload, type Upload, type UploadCreate } from '@/client'
import { body, idempotencyKey, toProblem } from './api'

export type UploadPurpose = UploadCreate['purpose']

export interface UploadHandle {
  pause: () => void
  resume: () => void
  cancel: () => void
}

interface Watcher {
  onProgress: (sent: number, total: number) => void
  onFinished: (upload: Upload) => void
  onError: (error: Error) => void
  /** The machine is offline; the upload goes on by itself when it is not. */
  onOffline: () => void
}

const memory = 'orfila-uploads'

/** What tells a file apart from another of the same name, without reading it. */
export function fileFingerprint(file: File, projectId: string, purpose: UploadPurpose): string {
  return [projectId, purpose, file.name, file.size, file.lastModified].join('/')
}

function remembered(): Record<string, string> {
  try {
    return JSON.parse(localStorage.getItem(memory) ?? '{}') as Record<string, string>
  } catch {
    return {}
  }
}

function remember(fingerprint: string, id: string | null): void {
  const all = remembered()
  if (id === null) delete all[fingerprint]
  else all[fingerprint] = id
  try {
    localStorage.setItem(memory, JSON.stringify(all))
  } catch {
    // Without storage an upload still works; it only cannot continue after a reload.
  }
}

async function unfinished(fingerprint: string): Promise<Upload | null> {
  const id = remembered()[fingerprint]
  if (!id) return null
  try {
    const upload = await body(getUpload({ path: { upload_id: id } }))
    if (upload.state === 'receiving') return upload
  } catch {
    // Expired or removed on the server: start again.
  }
  remember(fingerprint, null)
  return null
}

export async function startUpload(
  file: File,
  projectId: string,
  purpose: UploadPurpose,
  watcher: Watcher,
): Promise<UploadHandle> {
  const fingerprint = fileFingerprint(file, projectId, purpose)
  const upload =
    (await unfinished(fingerprint)) ??
    (await body(
      createUpload({
        path: { project_id: projectId },
        body: { filename: file.name, size: file.size, purpose },
        headers: { 'Idempotency-Key': idempotencyKey() },
      }),
    ))
  remember(fingerprint, upload.id)
  const goOn = () => tus.start()
  const tus: TusUpload = new TusUpload(file, {
    uploadUrl: new URL(upload.location, window.location.href).href,
    // The server keeps what came of a request that breaks off, so a request may be long.
    chunkSize: 64 * 1024 * 1024,
    retryDelays: [0, 1000, 3000, 5000, 10_000],
    storeFingerprintForResuming: false,
    onProgress: watcher.onProgress,
    onSuccess: () => {
      remember(fingerprint, null)
      body(getUpload({ path: { upload_id: upload.id } })).then(watcher.onFinished, watcher.onError)
    },
    onError: (error) => {
      // The library does not try again while there is no network at all; when there is one, it goes on.
      if (!navigator.onLine) {
        window.addEventListener('online', goOn, { once: true })
        watcher.onOffline()
        return
      }
      const answer = 'originalResponse' in error ? error.originalResponse?.getBody() : undefined
      let problem: unknown = error
      if (answer) {
        try {
          problem = JSON.parse(answer)
        } catch {
          problem = error
        }
      }
      watcher.onError(toProblem(problem))
    },
  })
  tus.start()
  return {
    pause: () => {
      window.removeEventListener('online', goOn)
      void tus.abort()
    },
    resume: goOn,
    cancel: () => {
      window.removeEventListener('online', goOn)
      remember(fingerprint, null)
      void tus.abort(true)
    },
  }
}
