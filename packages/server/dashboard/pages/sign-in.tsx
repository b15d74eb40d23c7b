import { useState } from 'preact/hooks'
import { type ApiError, keepToken } from '../api.ts'
import { Input } from '../parts/field.tsx'
import { Failure } from '../parts/notice.tsx'
import { Page } from '../parts/page.tsx'

export function SignIn({ refused }: { refused: ApiError | null }) {
  const [value, setValue] = useState('')
  const submit = (event: Event) => {
    event.preventDefault()
    keepToken(value.trim())
  }
  return (
    <Page name="sign-in" title="Sign in" isLoaded>
      <form class="sign-in" onSubmit={submit}>
        <p>This server asks for a token. It is kept until this tab is closed.</p>
        {refused && <Failure error={refused} />}
        <Input
          field={{
            name: 'token',
            label: 'Token',
            kind: 'secret',
            required: true,
            hint: '`tidings token create` makes one.',
          }}
          value={value}
          onChange={setValue}
        />
        <button type="submit" class="filled">
          Sign in
        </button>
      </form>
    </Page>
  )
}
