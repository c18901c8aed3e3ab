// All keys of the workbench.
import { Modal } from '@mantine/core'
import { Link } from '@tanstack/react-router'
import { memo } from 'react'
import { useBindings } from '@/lib/bindings'
import { keySheet } from '@/lib/keys'

export const KeySheet = memo(function KeySheet({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const keys = useBindings((state) => state.keys)
  return (
    <Modal opened={opened} onClose={onClose} title="Keys" size="lg">
      <table className="table">
        <tbody>
          {keySheet(keys).map((row) => (
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
      <p style={{ margin: '12px 0 0' }}>
        <Link to="/settings/keys">Choose other keys</Link>
      </p>
    </Modal>
  )
})
