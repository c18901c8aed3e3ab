// Redeems the one-time code of a sign-in link: /signin#code=… (a fragment, so that it never reaches a log) or ?code=….
import { Button, Stack, Text, TextInput } from '@mantine/core'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useSearch } from '@tanstack/react-router'
import { type FormEvent, useEffect, useRef, useState } from 'react'
import { signIn } from '@/client'
import { BrandMark } from '@/components/icons'
import { ProblemPanel } from '@/components/states'
import { body } from '@/lib/api'

/** A code as people paste it: alone, or inside the whole link. */
export function codeIn(pasted: string): string {
  return /[#?&]code=([^&\s]+)/.exec(pasted)?.[1] ?? pasted.trim()
}

/** Only a path of this site, so that a link cannot lead elsewhere after signing in. */
export function safeNext(next: string | undefined): string {
  return next && /^\/(?![/\\])/.test(next) ? next : '/'
}

export function SignInScreen() {
  const search = useSearch({ from: '/signin' })
  const queries = useQueryClient()
  const [text, setText] = useState('')
  const redeem = useMutation({
    mutationFn: (code: string) => body(signIn({ body: { code } })),
    onSuccess: () => {
      queries.clear()
      window.location.replace(safeNext(search.next))
    },
  })
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
      <form className="panel" style={{ width: 420 }} onSubmit={submit}>
        <Stack gap={16}>
          <div style={{ display: 'flex', gap: 8, alignItems: 'center', fontSize: 20, fontWeight: 600 }}>
            <BrandMark /> <h1 style={{ font: 'inherit', margin: 0 }}>Sign in to Orfila</h1>
          </div>
          <Text c="dimmed">
            The terminal that runs <code>orfila up</code> prints a one-time link. Open it, or paste it here. A new one:{' '}
            <code>orfila user link</code>.
          </Text>
          <TextInput
            label="One-time link or code"
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
            autoComplete="off"
            spellCheck={false}
            required
          />
          {redeem.error && <ProblemPanel error={redeem.error} />}
          <Button type="submit" loading={redeem.isPending || redeem.isSuccess} disabled={codeIn(text).length < 16}>
            Sign in
          </Button>
        </Stack>
      </form>
    </main>
  )
}
