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
/** Between attempts to hear that an upload is finished, ms; after the last one it is an error. */
const FINISH_PAUSES = [500, 1000, 3000, 5000, null]

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

/** The upload of this file that was begun earlier; it may have been finished without this page hearing of it. */
async function begun(fingerprint: string): Promise<Upload | null> {
  const id = remembered()[fingerprint]
  if (!id) return null
  try {
    const upload = await body(getUpload({ path: { upload_id: id } }))
    if (upload.state === 'receiving' || upload.state === 'finished') return upload
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
    (await begun(fingerprint)) ??
    (await body(
      createUpload({
        path: { project_id: projectId },
        body: { filename: file.name, size: file.size, purpose },
        headers: { 'Idempotency-Key': idempotencyKey() },
      }),
    ))
  remember(fingerprint, upload.id)
  // All bytes are there; the answer that says so may be lost like any other.
  const finish = async () => {
    for (const pause of FINISH_PAUSES) {
      try {
        const finished = await body(getUpload({ path: { upload_id: upload.id } }))
        remember(fingerprint, null)
        return watcher.onFinished(finished)
      } catch (error) {
        if (!navigator.onLine) return waitForNetwork()
        if (pause === null) return watcher.onError(error as Error)
        await new Promise((resolve) => setTimeout(resolve, pause))
      }
    }
  }
  let goOn: () => void = () => tus.start()
  const onOnline = () => goOn()
  const waitForNetwork = () => {
    window.addEventListener('online', onOnline, { once: true })
    watcher.onOffline()
  }
  const tus: TusUpload = new TusUpload(file, {
    uploadUrl: new URL(upload.location, window.location.href).href,
    // The server keeps what came of a request that breaks off, so a request may be long.
    chunkSize: 64 * 1024 * 1024,
    retryDelays: [0, 1000, 3000, 5000, 10_000],
    storeFingerprintForResuming: false,
    onProgress: watcher.onProgress,
    onSuccess: () => {
      goOn = finish
      finish()
    },
    onError: (error) => {
      // The library does not try again while there is no network at all; when there is one, it goes on.
      if (!navigator.onLine) {
        waitForNetwork()
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
  if (upload.state === 'finished') {
    goOn = finish
    void finish()
  } else tus.start()
  return {
    pause: () => {
      window.removeEventListener('online', onOnline)
      void tus.abort()
    },
    resume: onOnline,
    cancel: () => {
      window.removeEventListener('online', onOnline)
      remember(fingerprint, null)
      void tus.abort(true)
    },
  }
}
