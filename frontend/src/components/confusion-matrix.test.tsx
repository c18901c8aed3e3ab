import { MantineProvider } from '@mantine/core'
import { render, screen } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { expect, test, vi } from 'vitest'
import { ConfusionTable } from './confusion-matrix'

test('a cell with images is a button that names itself and is chosen by keyboard; an empty one is not', async () => {
  const onPick = vi.fn()
  const confusion = {
    classes: ['cat', 'dog'],
    matrix: [
      [8, 2],
      [0, 5],
    ],
  }
  render(
    <MantineProvider>
      <ConfusionTable confusion={confusion} picked={{ label: 0, predicted: 0 }} onPick={onPick} />
    </MantineProvider>,
  )
  const wrong = screen.getByRole('button', { name: '2 images of cat predicted as dog' })
  wrong.focus()
  await userEvent.keyboard('{Enter}')
  expect(onPick).toHaveBeenCalledWith(0, 1)
  expect(screen.getByRole('button', { name: '0 images of dog predicted as cat' })).toHaveProperty('disabled', true)
  expect(screen.getByRole('button', { pressed: true, name: '8 images of cat predicted as cat' })).toBeTruthy()
})
