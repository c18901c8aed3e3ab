import { expect, test } from 'vitest'
import { codeIn, safeNext } from './sign-in'

test('the code is found alone or in a whole link', () => {
  expect(codeIn(' abcdefghijklmnop ')).toBe('abcdefghijklmnop')
  expect(codeIn('http://127.0.0.1:8000/signin#code=abc_-1')).toBe('abc_-1')
  expect(codeIn('http://h/signin?code=abc&x=1')).toBe('abc')
})

test('a link cannot lead to another site after signing in', () => {
  expect(safeNext('/c/1/evidence?i=3')).toBe('/c/1/evidence?i=3')
  for (const evil of ['//evil.example', '/\\evil.example', 'https://evil.example', 'javascript:alert(1)', undefined]) {
    expect(safeNext(evil)).toBe('/')
  }
})
