import { expect, test } from 'vitest'
import { splitMentions } from './mentions'

test('mentions stand apart from the words around them', () => {
  expect(splitMentions('see @ann Lee, and @Ben', ['Ann', 'Ann Lee', 'Ben'])).toEqual([
    { text: 'see ', mention: false },
    { text: '@ann Lee', mention: true },
    { text: ', and ', mention: false },
    { text: '@Ben', mention: true },
  ])
  expect(splitMentions('nobody @here', [])).toEqual([{ text: 'nobody @here', mention: false }])
  expect(splitMentions('@[x]', ['[x]'])).toEqual([{ text: '@[x]', mention: true }])
})
