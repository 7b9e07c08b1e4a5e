/** Signing in, by whatever way the server has. */
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks"
import type { Client, Session, Way } from "./client.tsx"
import { Problem } from "./parts.tsx"

type Choice = { readonly label: string; readonly way: Way | "account" }

const choicesOf = ({ config: { hasAccounts, ways } }: Client): ReadonlyArray<Choice> => [
  ...(hasAccounts ? [{ label: "Account", way: "account" } as const] : []),
  ...ways.map((way): Choice => ({
    label: way.way === "header" ? `Key (${way.header})` : way.way === "bearer" ? "Token" : "Name and password",
    way
  }))
]

/** The form, on a page of its own or above what somebody was at. */
export const SignInForm = ({
  client,
  isOver = false,
  onSession
}: {
  readonly client: Client
  /** Whether there is something behind it that would be lost where this page is left. */
  readonly isOver?: boolean
  readonly onSession: (session: Session) => void
}) => {
  const choices = choicesOf(client)
  const [chosen, setChosen] = useState(0)
  const [name, setName] = useState("")
  const [secret, setSecret] = useState("")
  const [error, setError] = useState<unknown>()
  const [isBusy, setBusy] = useState(false)
  const id = useId()
  const way: Choice["way"] = choices[chosen]?.way ?? { way: "bearer" }
  const hasName = way === "account" || way.way === "basic"
  const submit = (event: Event) => {
    event.preventDefault()
    setBusy(true)
    setError(undefined)
    const signing =
      way === "account"
        ? client.signInByAccount(name, secret)
        : client.signIn(way, hasName ? name : secret, hasName ? secret : "")
    signing.then(onSession, (failure: unknown) => {
      setError(failure)
      setBusy(false)
    })
  }
  const { providers } = client.config
  const hasForm = choices.length > 0 || providers.length === 0
  const goOn = () => {
    setBusy(true)
    setError(undefined)
    client.signInBySession().then(onSession, (failure: unknown) => {
      setError(failure)
      setBusy(false)
    })
  }
  const byProvider = providers.length > 0 && (
    <div class="providers">
      <ul>
        {providers.map(({ login, name: provider }) => (
          <li>
            <a
              class="button"
              href={`${login}?returnTo=${encodeURIComponent(client.config.page)}`}
              {...(isOver ? { target: "_blank", rel: "noopener" } : {})}
              onClick={() => void client.toProvider(login)}
            >
              Sign in with {provider}
              {isOver && " in another tab"}
            </a>
          </li>
        ))}
      </ul>
      {isOver && (
        <button type="button" disabled={isBusy} onClick={goOn}>
          I have signed in there
        </button>
      )}
    </div>
  )
  if (!hasForm) {
    return (
      <>
        {byProvider}
        {error !== undefined && <Problem error={error} />}
      </>
    )
  }
  return (
    <form onSubmit={submit}>
      {byProvider}
      {choices.length > 1 && (
        <fieldset class="ways">
          <legend>Sign in by</legend>
          {choices.map(({ label }, index) => (
            <label>
              <input
                type="radio"
                name="way"
                checked={index === chosen}
                onChange={() => {
                  setChosen(index)
                  setError(undefined)
                }}
              />{" "}
              {label}
            </label>
          ))}
        </fieldset>
      )}
      {hasName && (
        <div class="field">
          <label for={`${id}name`}>Name</label>
          <input
            id={`${id}name`}
            autocomplete="username"
            required
            value={name}
            onInput={({ currentTarget }) => setName(currentTarget.value)}
          />
        </div>
      )}
      <div class="field">
        <label for={`${id}secret`}>{hasName ? "Password" : way.way === "header" ? "Key" : "Token"}</label>
        <input
          id={`${id}secret`}
          type="password"
          autocomplete={hasName ? "current-password" : "off"}
          required
          value={secret}
          onInput={({ currentTarget }) => setSecret(currentTarget.value)}
        />
      </div>
      {error !== undefined && <Problem error={error} />}
      <button type="submit" class="primary" disabled={isBusy}>
        Sign in
      </button>
    </form>
  )
}

export const SignIn = ({
  client,
  notice,
  onSession
}: {
  readonly client: Client
  readonly notice: string
  readonly onSession: (session: Session) => void
}) => {
  const heading = useRef<HTMLHeadingElement>(null)
  useLayoutEffect(() => {
    document.title = `Sign in · ${client.config.title}`
    heading.current?.focus()
  }, [])
  return (
    <main class="signin" id="main">
      <h1 ref={heading} tabIndex={-1}>
        {client.config.title}
      </h1>
      {notice !== "" && <p role="status">{notice}</p>}
      <SignInForm client={client} onSession={onSession} />
    </main>
  )
}
