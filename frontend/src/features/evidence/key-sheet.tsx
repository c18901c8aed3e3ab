// All keys of the workbench.
import { Modal } from '@mantine/core'
import { memo } from 'react'
import { keySheet } from '@/lib/keys'

export const KeySheet = memo(function KeySheet({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  return (
    <Modal opened={opened} onClose={onClose} title="Keys" size="lg">
      <table className="table">
        <tbody>
          {keySheet.map((row) => (
            <tr key={row.does}>
              <td style={{ whiteSpace: 'nowrap', width: 160 }}>
                {row.keys.map((key) => (
                  <kbd key={key} style={{ marginRight: 4 }}>
                    {key}
                  </kbd>
                ))}
              </td>
              <td>{row.does}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Modal>
  )
})
