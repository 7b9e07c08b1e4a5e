/** What several views are made of. */
import { type ComponentChildren, createContext } from "preact"
import { useContext, useId, useLayoutEffect, useRef, useState } from "preact/hooks"
import { type Client, Failure, type Session } from "./client.tsx"
import { asText, type Json, type Resource, visible } from "./model.ts"

export interface App {
  readonly client: Client
  readonly session: Session
  /** Tells a screen reader what everybody else sees. */
  readonly announce: (message: string) => void
  /** Tells everybody what was done. */
  readonly say: (message: string) => void
  /** Whether there is a form that would be lost. */
  readonly unsaved: { current: boolean }
}

export const AppContext = createContext<App | undefined>(undefined)

export const useApp = (): App => {
  const app = useContext(AppContext)
  if (app === undefined) throw new Error("there is no session")
  return app
}

/** Asks before a form is left that is not saved. What it gives lets it go. */
export const useUnsaved = (isUnsaved: boolean): (() => void) => {
  const { unsaved } = useApp()
  // At once: who leaves right after it was saved is not asked.
  useLayoutEffect(() => {
    unsaved.current = isUnsaved
    const asks = (event: Event) => event.preventDefault()
    if (isUnsaved) addEventListener("beforeunload", asks)
    return () => {
      unsaved.current = false
      removeEventListener("beforeunload", asks)
    }
  }, [isUnsaved])
  return () => {
    unsaved.current = false
  }
}

export const useResource = (name: string): Resource | undefined =>
  useApp().session.resources.find((one) => one.name === name)

export type Loaded<A> =
  | { readonly state: "loading" }
  | { readonly state: "failed"; readonly failure: unknown }
  | { readonly state: "loaded"; readonly value: A }

/** What a request gives, for as long as it is asked for. `again` asks anew. */
export const useLoaded = <A,>(
  load: (signal: AbortSignal) => Promise<A>,
  keys: ReadonlyArray<unknown>
): readonly [Loaded<A>, () => void] => {
  const [loaded, setLoaded] = useState<Loaded<A>>({ state: "loading" })
  const [round, setRound] = useState(0)
  // What was there before is not shown for what is asked for now.
  useLayoutEffect(() => {
    const controller = new AbortController()
    setLoaded({ state: "loading" })
    load(controller.signal).then(
      (value) => {
        if (!controller.signal.aborted) setLoaded({ state: "loaded", value })
      },
      (failure: unknown) => {
        if (!controller.signal.aborted) setLoaded({ state: "failed", failure })
      }
    )
    return () => controller.abort()
  }, [...keys, round])
  return [loaded, () => setRound((before) => before + 1)]
}

/** The heading of a view: the title of the page, and where the focus goes when the view is there. */
export const Heading = ({ children, title }: { readonly children?: ComponentChildren; readonly title: string }) => {
  const { client } = useApp()
  const ref = useRef<HTMLHeadingElement>(null)
  // With the view, and not a moment later, when somebody may have gone on already.
  useLayoutEffect(() => {
    document.title = `${visible(title)} · ${client.config.title}`
    ref.current?.focus()
  }, [title])
  return (
    <div class="heading">
      <h1 ref={ref} tabIndex={-1}>
        {visible(title)}
      </h1>
      {children}
    </div>
  )
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

export const Problem = ({ error }: { readonly error: unknown }) => {
  const issues = error instanceof Failure ? error.issues : []
  return (
    <div class="problem" role="alert">
      <p>{messageOf(error)}</p>
      {issues.length > 0 && (
        <ul>
          {issues.map(({ message, path }) => (
            <li>
              {path.length > 0 && <code>{path.join(".")}</code>} {message}
            </li>
          ))}
        </ul>
      )}
      {error instanceof Failure && error.requestId !== "" && <p class="quiet">Request {error.requestId}</p>}
    </div>
  )
}

export const Loading = () => (
  <p class="quiet" role="status">
    Loading…
  </p>
)

/** A view of what is loaded. */
export const Show = <A,>({
  children,
  loaded
}: {
  readonly loaded: Loaded<A>
  readonly children: (value: A) => ComponentChildren
}) =>
  loaded.state === "loading" ? (
    <Loading />
  ) : loaded.state === "failed" ? (
    <Problem error={loaded.failure} />
  ) : (
    <>{children(loaded.value)}</>
  )

/** A table that is wider than the screen can be moved by keys. */
export const Wide = ({ children, label }: { readonly children: ComponentChildren; readonly label: string }) => (
  <div class="wide" role="region" aria-label={label} tabIndex={0}>
    {children}
  </div>
)

export const Value = ({ value }: { readonly value: Json | undefined }) =>
  value === undefined ? (
    <span class="quiet">none</span>
  ) : (
    <span class={typeof value === "string" ? "value" : "value code"}>
      {asText(value) === "" ? "“”" : visible(asText(value))}
    </span>
  )

/** A dialog of the browser, which keeps the focus in itself and gives it back. */
export const Dialog = ({
  children,
  onClose,
  title
}: {
  readonly title: string
  readonly onClose: () => void
  readonly children: ComponentChildren
}) => {
  const ref = useRef<HTMLDialogElement>(null)
  const id = useId()
  useLayoutEffect(() => {
    const before = document.activeElement
    const dialog = ref.current
    dialog?.showModal()
    return () => {
      // Nothing else takes the focus while it is open.
      dialog?.close()
      if (before instanceof HTMLElement && before.isConnected) before.focus()
    }
  }, [])
  return (
    <dialog
      ref={ref}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
    >
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  )
}

/** Asks before something is destroyed. */
export const Confirm = ({
  children,
  doIt,
  label,
  onClose,
  title
}: {
  readonly title: string
  readonly label: string
  readonly doIt: () => Promise<void>
  readonly onClose: () => void
  readonly children: ComponentChildren
}) => {
  const [error, setError] = useState<unknown>()
  const [isBusy, setBusy] = useState(false)
  const run = () => {
    setBusy(true)
    setError(undefined)
    doIt().then(onClose, (failure: unknown) => {
      setError(failure)
      setBusy(false)
    })
  }
  return (
    <Dialog title={title} onClose={onClose}>
      {children}
      {error !== undefined && <Problem error={error} />}
      <div class="actions">
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        <button type="button" class="danger" disabled={isBusy} onClick={run}>
          {label}
        </button>
      </div>
    </Dialog>
  )
}

export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${count.toLocaleString("en")} ${count === 1 ? one : many}`
