// Between the pages of the settings.
import { Link } from '@tanstack/react-router'

export function SettingsTabs() {
  return (
    <nav className="tabs" aria-label="Settings">
      <Link to="/settings/tokens" className="tab">
        Tokens
      </Link>
      <Link to="/settings/audit" className="tab">
        Audit trail
      </Link>
    </nav>
  )
}
