import { expect, test } from 'vitest'
import { browserName } from './profile'

test('a browser is called by its name and system', () => {
  const chrome = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36'
  expect(browserName(chrome)).toBe('Chrome on Linux')
  expect(browserName('Mozilla/5.0 (Macintosh; Intel Mac OS X 15.1; rv:140.0) Gecko/20100101 Firefox/140.0')).toBe(
    'Firefox on macOS',
  )
  expect(browserName('python-httpx/0.28')).toBe('python-httpx/0.28')
  expect(browserName(null)).toBe('unknown')
})
