import { expect, test } from 'vitest'
import { readClassNames } from './class-names'

test('a line is a folder and, after a comma or a tab, its name', () => {
  expect(readClassNames('n01440764, tench\n\nn02102040\tEnglish springer, a dog\n cat \n')).toEqual({
    n01440764: 'tench',
    n02102040: 'English springer, a dog',
  })
})

test('nothing written means no names', () => {
  expect(readClassNames(' \n')).toBeNull()
})
