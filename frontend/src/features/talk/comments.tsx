// What people say of a case or of one of its images. @NAME tells a member of the project.
import { Button, Group, Stack, Text, Textarea } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, Fragment, memo, useState } from 'react'
import { type Comment, changeComment, createComment, deleteComment } from '@/client'
import { Loaded, ProblemPanel } from '@/components/states'
import { body, idempotencyKey } from '@/lib/api'
import { ago } from '@/lib/format'
import { q } from '@/lib/queries'
import { splitMentions } from './mentions'

function Words({ text, mentions }: { text: string; mentions: string[] }) {
  return (
    <p style={{ margin: 0, whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>
      {splitMentions(text, mentions).map((part, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the parts of a text never reorder
        <Fragment key={i}>{part.mention ? <strong>{part.text}</strong> : part.text}</Fragment>
      ))}
    </p>
  )
}

function useAgain(caseId: string) {
  const queries = useQueryClient()
  return () => void queries.invalidateQueries({ queryKey: ['case', caseId, 'comments'] })
}

function One({ comment, showImage }: { comment: Comment; showImage: boolean }) {
  const again = useAgain(comment.case_id)
  const [text, setText] = useState<string | null>(null)
  const path = { comment_id: comment.id }
  const change = useMutation({
    mutationFn: () => body(changeComment({ path, body: { text: text ?? '' } })),
    onSuccess: () => {
      setText(null)
      again()
    },
  })
  const remove = useMutation({ mutationFn: () => body(deleteComment({ path })), onSuccess: again })
  return (
    <li style={{ padding: '8px 0' }}>
      <Group gap={8}>
        <strong>{comment.author}</strong>
        <span className="quiet" style={{ fontSize: 12 }}>
          {ago(comment.at)}
          {comment.edited_at && ', edited'}
          {showImage && comment.index !== null && (
            <>
              {' '}
              on{' '}
              <a href={`/c/${comment.case_id}/evidence?tab=all&i=${comment.index}`}>training image {comment.index}</a>
            </>
          )}
        </span>
        {comment.is_mine && text === null && (
          <Group gap={4} ml="auto">
            <Button size="compact-xs" variant="subtle" onClick={() => setText(comment.text)}>
              Edit
            </Button>
            <Button size="compact-xs" variant="subtle" loading={remove.isPending} onClick={() => remove.mutate()}>
              Delete
            </Button>
          </Group>
        )}
      </Group>
      {text === null ? (
        <Words text={comment.text} mentions={comment.mentions} />
      ) : (
        <Stack gap={8}>
          <Textarea
            aria-label="Comment"
            className="grows"
            rows={2}
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
          />
          <Group gap={8}>
            <Button size="xs" loading={change.isPending} disabled={!text.trim()} onClick={() => change.mutate()}>
              Save
            </Button>
            <Button size="xs" variant="default" onClick={() => setText(null)}>
              Cancel
            </Button>
          </Group>
        </Stack>
      )}
      {(change.error ?? remove.error) && <ProblemPanel error={change.error ?? remove.error} />}
    </li>
  )
}

/** `index`: of one training image; without it, everything that was said in the case. */
export const Comments = memo(function Comments({ caseId, index }: { caseId: string; index?: number }) {
  const again = useAgain(caseId)
  const all = useQuery(q.comments(caseId))
  const [text, setText] = useState('')
  const post = useMutation({
    mutationFn: () =>
      body(
        createComment({
          path: { case_id: caseId },
          body: { text, index: index ?? null },
          headers: { 'Idempotency-Key': idempotencyKey() },
        }),
      ),
    onSuccess: () => {
      setText('')
      again()
    },
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    if (text.trim()) post.mutate()
  }
  return (
    <section aria-label={index === undefined ? 'Comments on the case' : 'Comments on this image'}>
      <Loaded query={all}>
        {(comments) => {
          const shown = index === undefined ? comments : comments.filter((each) => each.index === index)
          return shown.length === 0 ? (
            <Text c="dimmed" size="sm">
              No comment yet.
            </Text>
          ) : (
            <ul style={{ listStyle: 'none', margin: 0, padding: 0 }}>
              {shown.map((comment) => (
                <One key={comment.id} comment={comment} showImage={index === undefined} />
              ))}
            </ul>
          )
        }}
      </Loaded>
      <form onSubmit={submit}>
        <Stack gap={8} mt={8}>
          <Textarea
            label={index === undefined ? 'Comment on the case' : 'Comment on this image'}
            placeholder="@Name tells a member"
            data-comment-on={index === undefined ? 'case' : 'image'}
            className="grows"
            rows={2}
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) submit(event)
            }}
          />
          {post.error && <ProblemPanel error={post.error} />}
          <Group>
            <Button size="xs" type="submit" variant="default" loading={post.isPending} disabled={!text.trim()}>
              Comment
            </Button>
          </Group>
        </Stack>
      </form>
    </section>
  )
})
