// Ways in: a name and a password, the OpenID provider, or the one-time code of a sign-in link: /signin#code=… (a
// fragment, so that it never reaches a log) or ?code=….
import { Alert, Button, Divider, PasswordInput, Stack, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useSearch } from '@tanstack/react-router'
import { type FormEvent, useEffect, useRef, useState } from 'react'
import { signIn, signInWithPassword } from '@/client'
import { BrandMark } from '@/components/icons'
import { ProblemPanel } from '@/components/states'
import { body } from '@/lib/api'
import { q } from '@/lib/queries'

/** A code as people paste it: alone, or inside the whole link. */
export function codeIn(pasted: string): string {
  return /[#?&]code=([^&\s]+)/.exec(pasted)?.[1] ?? pasted.trim()
}

/** Only a path of this site, so that a link cannot lead elsewhere after signing in. */
export function safeNext(next: string | undefined): string {
  return next && /^\/(?![/\\])/.test(next) ? next : '/'
}

const problems: Record<string, string> = {
  provider_failed: 'The provider did not confirm who you are. Try again, or ask for a sign-in link.',
  provider_state: 'This sign-in took too long, or began in another browser. Start again.',
  provider_groups: 'You are in none of the groups that may use Orfila. Ask its administrator.',
  provider_disabled: 'This account is disabled. Ask an administrator.',
}

function useWayIn<T>(enter: (given: T) => Promise<unknown>) {
  const search = useSearch({ from: '/signin' })
  const queries = useQueryClient()
  return useMutation({
    mutationFn: enter,
    onSuccess: () => {
      queries.clear()
      window.location.replace(safeNext(search.next))
    },
  })
}

function WithPassword() {
  const [name, setName] = useState('')
  const [password, setPassword] = useState('')
  const enter = useWayIn(() => body(signInWithPassword({ body: { name, password } })))
  const submit = (event: FormEvent) => {
    event.preventDefault()
    enter.mutate(undefined)
  }
  return (
    <form onSubmit={submit}>
      <Stack gap={12}>
        <TextInput
          label="Name"
          autoComplete="username"
          required
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <PasswordInput
          label="Password"
          autoComplete="current-password"
          required
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
        />
        {enter.error && <ProblemPanel error={enter.error} />}
        <Button type="submit" loading={enter.isPending || enter.isSuccess} disabled={!name || !password}>
          Sign in
        </Button>
      </Stack>
    </form>
  )
}

export function SignInScreen() {
  const search = useSearch({ from: '/signin' })
  const provider = useQuery(q.signInWays()).data?.provider
  const [text, setText] = useState('')
  const redeem = useWayIn((code: string) => body(signIn({ body: { code } })))
  const tried = useRef(false)
  useEffect(() => {
    document.title = 'Sign in · Orfila'
    const fragment = /code=([^&]+)/.exec(window.location.hash)?.[1]
    const code = fragment ?? search.code
    if (!code || tried.current) return
    // Once: the code is spent by its first use, also under React's double effects.
    tried.current = true
    window.history.replaceState(null, '', '/signin')
    redeem.mutate(code)
  }, [search.code, redeem])
  const submit = (event: FormEvent) => {
    event.preventDefault()
    redeem.mutate(codeIn(text))
  }
  return (
    <main style={{ display: 'grid', placeItems: 'center', height: '100%', padding: 16 }}>
      <section className="panel" style={{ width: 420 }}>
        <Stack gap={16}>
          <div style={{ display: 'flex', gap: 8, alignItems: 'center', fontSize: 20, fontWeight: 600 }}>
            <BrandMark /> <h1 style={{ font: 'inherit', margin: 0 }}>Sign in to Orfila</h1>
          </div>
          {search.problem && (
            <Alert color="red" role="alert">
              {problems[search.problem] ?? 'Signing in failed. Try again.'}
            </Alert>
          )}
          {provider && (
            <>
              <Button component="a" href={`/api/v1/oidc/start?next=${encodeURIComponent(safeNext(search.next))}`}>
                Sign in with {provider}
              </Button>
              <Divider label="or" />
            </>
          )}
          <WithPassword />
          <Divider label="or" />
          <form onSubmit={submit}>
            <Stack gap={12}>
              <TextInput
                label="One-time link or code"
                description="From an invitation, or printed in the terminal by orfila up and orfila user link. Open it, or paste it here."
                inputWrapperOrder={['label', 'input', 'description']}
                value={text}
                onChange={(event) => setText(event.currentTarget.value)}
                autoComplete="off"
                spellCheck={false}
                required
              />
              {redeem.error && <ProblemPanel error={redeem.error} />}
              <Button
                type="submit"
                variant="default"
                loading={redeem.isPending || redeem.isSuccess}
                disabled={codeIn(text).length < 16}
              >
                Use the link
              </Button>
            </Stack>
          </form>
        </Stack>
      </section>
    </main>
  )
}
