// Fails when the committed client differs from what backend/openapi.json generates.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'

const committed = 'src/client'
const fresh = mkdtempSync(join(tmpdir(), 'orfila-client-'))

function files(root, folder = root) {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    return statSync(path).isDirectory() ? files(root, path) : [relative(root, path)]
  })
}

try {
  execFileSync('node_modules/.bin/openapi-ts', ['--output', fresh], { stdio: ['ignore', 'ignore', 'inherit'] })
  const names = new Set([...files(committed), ...files(fresh)])
  const read = (root, name) => {
    try {
      return readFileSync(join(root, name), 'utf8')
    } catch {
      return null
    }
  }
  const differing = [...names].filter((name) => read(committed, name) !== read(fresh, name))
  if (differing.length > 0) {
    console.error(`src/client is not what backend/openapi.json generates (${differing.join(', ')}).`)
    console.error('Run `npm run client` and commit the result.')
    process.exitCode = 1
  }
} finally {
  rmSync(fresh, { recursive: true })
}
