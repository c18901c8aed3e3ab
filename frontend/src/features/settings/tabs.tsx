// Between the pages of the settings.
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { q } from '@/lib/queries'

export function SettingsTabs() {
  const administrates = useQuery(q.session()).data?.user.is_administrator
  return (
    <nav className="tabs" aria-label="Settings">
      <Link to="/settings/profile" className="tab">
        Profile
      </Link>
      <Link to="/settings/keys" className="tab">
        Keys
      </Link>
      <Link to="/settings/tokens" className="tab">
        Tokens
      </Link>
      {administrates && (
        <Link to="/settings/people" className="tab">
          People
        </Link>
      )}
      <Link to="/settings/audit" className="tab">
        Audit trail
      </Link>
    </nav>
  )
}
