/** One document: its form, conflicts with others, deletion; history and content are views of their own. */
import { useLayoutEffect, useRef, useState } from "preact/hooks"
import { Failure, objectOf, textOf } from "./client.tsx"
import { Conflict } from "./conflict.tsx"
import { ContentView } from "./content.tsx"
import { Fields } from "./form.tsx"
import { HistoryView } from "./history.tsx"
import {
  besides,
  canBeNamed,
  type Clash,
  clashes,
  documentOf,
  type Draft,
  draftOf,
  type Field,
  fieldsOf,
  type Issue,
  type JsonObject,
  keyOf,
  linkTo,
  merged,
  patchOf,
  type Resource
} from "./model.ts"
import { Confirm, Dialog, Heading, Show, useApp, useLoaded, useResource, useUnsaved } from "./parts.tsx"

interface Version {
  readonly document: JsonObject
  readonly etag: string
}

const all = (fields: ReadonlyArray<Field>): ReadonlyArray<Field> => fields.flatMap((one) => [one, ...all(one.fields)])

/** What is wrong, at the top of a form: the focus goes there. What no field of it shows is told here alone. */
const Wrong = ({
  error,
  fields,
  issues
}: {
  readonly error: unknown
  readonly fields: ReadonlyArray<Field>
  readonly issues: ReadonlyArray<Issue>
}) => {
  const ref = useRef<HTMLDivElement>(null)
  useLayoutEffect(() => ref.current?.focus(), [error, issues])
  const failure =
    error instanceof Failure && error.issues.length > 0
      ? error.message
      : error instanceof Error
        ? error.message
        : "Some fields cannot be sent as they are."
  const names = new Map(all(fields).map(({ path }) => [path.join("."), path]))
  return (
    <div class="problem" role="alert" tabIndex={-1} ref={ref}>
      <p>{failure}</p>
      {issues.length > 0 && (
        <ul>
          {issues.map(({ message, path }) => {
            const name = path.join(".")
            return (
              <li>
                {names.has(name) ? (
                  <button
                    type="button"
                    class="link"
                    onClick={() => {
                      const found = document.getElementsByName(name)[0]
                      if (found instanceof HTMLElement) found.focus()
                    }}
                  >
                    {name}
                  </button>
                ) : (
                  <code>{name}</code>
                )}{" "}
                {message}
              </li>
            )
          })}
        </ul>
      )}
    </div>
  )
}

export const NewDocument = ({ name }: { readonly name: string }) => {
  const resource = useResource(name)
  return resource === undefined ? <Heading title={`No resource ${name}`} /> : <Creation resource={resource} />
}

const Creation = ({ resource }: { readonly resource: Resource }) => {
  const { client, say } = useApp()
  const { name, primaryKey } = resource
  const fields = fieldsOf(resource, "create")
  const [first] = useState<Draft>(() => draftOf(fields, {}, "create"))
  const [draft, setDraft] = useState(first)
  const [wrong, setWrong] = useState<{ readonly error: unknown; readonly issues: ReadonlyArray<Issue> }>()
  const [isBusy, setBusy] = useState(false)
  const letGo = useUnsaved(draft !== first)
  // The same creation, however often the button is pressed; another document is another one.
  const asked = useRef({ body: "", key: "" })
  const submit = (event: Event) => {
    event.preventDefault()
    const { document, issues } = documentOf(fields, draft)
    if (issues.length > 0) return setWrong({ error: undefined, issues })
    setBusy(true)
    const body = JSON.stringify(document)
    if (asked.current.body !== body) asked.current = { body, key: crypto.randomUUID() }
    const headers = { "idempotency-key": `"${asked.current.key}"` }
    client.send(client.path(name), { method: "POST", body: document, headers }).then(
      ({ json }) => {
        say("Created")
        letGo()
        location.hash = linkTo("resources", name, "id", textOf(objectOf(json)[primaryKey]))
      },
      (error: unknown) => {
        setWrong({ error, issues: error instanceof Failure ? error.issues : [] })
        setBusy(false)
      }
    )
  }
  return (
    <>
      <Heading title={`New in ${name}`} />
      {wrong !== undefined && <Wrong {...wrong} fields={fields} />}
      <form class="document" onSubmit={submit} noValidate>
        <Fields fields={fields} draft={draft} issues={wrong?.issues ?? []} mode="create" onDraft={setDraft} />
        <div class="actions">
          <a class="button" href={linkTo("resources", name)}>
            Cancel
          </a>
          <button type="submit" class="primary" disabled={isBusy}>
            Create
          </button>
        </div>
      </form>
    </>
  )
}

type Tab = "fields" | "history" | "content"

export const DocumentPage = ({ id, name, tab }: { readonly name: string; readonly id: string; readonly tab: Tab }) => {
  const resource = useResource(name)
  if (resource === undefined) return <Heading title={`No resource ${name}`} />
  if (!canBeNamed(id)) {
    return (
      <>
        <Heading title={id === "" ? "A document without a name" : id} />
        <p>No URL can name this id. It is in the list, and the program itself can change it.</p>
      </>
    )
  }
  const { operations } = resource
  const tabs = [
    ["fields", "Fields", true],
    ["history", "History", operations.includes("history")],
    ["content", "Content", operations.includes("getContent")]
  ] as const
  return (
    <>
      <Heading title={id}>
        <a href={linkTo("resources", name)}>All of {name}</a>
      </Heading>
      <nav class="tabs" aria-label="Document">
        <ul>
          {tabs
            .filter(([, , isThere]) => isThere)
            .map(([one, label]) => (
              <li>
                <a
                  href={linkTo("resources", name, "id", id, ...(one === "fields" ? [] : [one]))}
                  aria-current={one === tab ? "page" : undefined}
                >
                  {label}
                </a>
              </li>
            ))}
        </ul>
      </nav>
      {tab === "fields" ? (
        <Loadable resource={resource} id={id} />
      ) : tab === "history" ? (
        <HistoryView resource={resource} id={id} />
      ) : (
        <ContentView resource={resource} id={id} />
      )}
    </>
  )
}

const Loadable = ({ id, resource }: { readonly resource: Resource; readonly id: string }) => {
  const { client } = useApp()
  const path = client.path(resource.name, id)
  const [loaded] = useLoaded(
    async (signal): Promise<Version> => {
      const { headers, json } = await client.send(path, { signal })
      return { document: objectOf(json), etag: headers.get("etag") ?? "" }
    },
    [path]
  )
  return <Show loaded={loaded}>{(version) => <Edit resource={resource} id={id} path={path} first={version} />}</Show>
}

const Edit = ({
  first,
  id,
  path,
  resource
}: {
  readonly resource: Resource
  readonly id: string
  readonly path: string
  readonly first: Version
}) => {
  const { client, say } = useApp()
  const { name, operations } = resource
  const fields = fieldsOf(resource, "edit")
  const [base, setBase] = useState(first)
  const [draft, setDraft] = useState<Draft>(() => draftOf(fields, first.document, "edit"))
  const [wrong, setWrong] = useState<{ readonly error: unknown; readonly issues: ReadonlyArray<Issue> }>()
  const [conflict, setConflict] = useState<{ readonly theirs: Version; readonly all: ReadonlyArray<Clash> }>()
  const [isGone, setGone] = useState(false)
  const [isDeleting, setDeleting] = useState(false)
  const [isBusy, setBusy] = useState(false)
  const present = documentOf(fields, draft)
  const isChanged =
    present.issues.length > 0 || Object.keys(patchOf(fields, base.document, present.document)).length > 0
  const letGo = useUnsaved(isChanged)
  const canPatch = operations.includes("patch") && resource.patch !== null
  const canWrite = canPatch || operations.includes("replace")

  const adopt = (version: Version): void => {
    setBase(version)
    setDraft(draftOf(fields, version.document, "edit"))
    setWrong(undefined)
  }

  /** Somebody was first: what has become of it, beside what is in the form. */
  const meet = async (from: Version, mine: JsonObject): Promise<void> => {
    try {
      const { headers, json } = await client.send(path)
      const theirs = { document: objectOf(json), etag: headers.get("etag") ?? "" }
      const [was, is] = [besides(fields, from.document, theirs.document), besides(fields, mine, theirs.document)]
      setConflict({ theirs, all: clashes(was, besides(fields, theirs.document, theirs.document), is) })
    } catch (error) {
      if (error instanceof Failure && error.status === 404) setGone(true)
      else throw error
    }
  }

  const save = async (from: Version, present: Draft): Promise<void> => {
    const { document, issues } = documentOf(fields, present)
    if (issues.length > 0) return setWrong({ error: undefined, issues })
    const changes = patchOf(fields, from.document, document)
    if (Object.keys(changes).length === 0) {
      setWrong(undefined)
      return say("Nothing has changed")
    }
    setBusy(true)
    try {
      const { headers, json } = await client.send(path, {
        method: canPatch ? "PATCH" : "PUT",
        body: canPatch ? changes : document,
        headers: { "if-match": from.etag }
      })
      adopt({ document: objectOf(json), etag: headers.get("etag") ?? "" })
      say("Saved")
    } catch (error) {
      try {
        if (error instanceof Failure && error.status === 412) await meet(from, document)
        else if (error instanceof Failure && error.status === 404) setGone(true)
        else throw error
      } catch (failure) {
        setWrong({ error: failure, issues: failure instanceof Failure ? failure.issues : [] })
      }
    } finally {
      setBusy(false)
    }
  }

  /** Goes on from their version, with mine where it was chosen. */
  const settle = (theirs: Version, all: ReadonlyArray<Clash>, chosen: ReadonlySet<string>): void => {
    setConflict(undefined)
    const next = new Map(draftOf(fields, merged(theirs.document, all, chosen), "edit"))
    const secrets = (some: ReadonlyArray<Field>): void => {
      for (const field of some) {
        const text = draft.get(keyOf(field.path))
        if (field.isSecret && text !== undefined) next.set(keyOf(field.path), text)
        secrets(field.fields)
      }
    }
    secrets(fields)
    setBase(theirs)
    setDraft(next)
    void save(theirs, next)
  }

  const remove = async (): Promise<void> => {
    await client.send(path, { method: "DELETE", headers: { "if-match": base.etag } })
    say("Deleted")
    letGo()
    location.hash = linkTo("resources", name)
  }

  return (
    <>
      {wrong !== undefined && <Wrong {...wrong} fields={fields} />}
      <form
        class="document"
        noValidate
        onSubmit={(event) => {
          event.preventDefault()
          void save(base, draft)
        }}
      >
        <Fields
          fields={canWrite ? fields : fields.map((field) => ({ ...field, isReadonly: true }))}
          draft={draft}
          issues={wrong?.issues ?? []}
          mode="edit"
          onDraft={setDraft}
        />
        <div class="actions">
          {operations.includes("delete") && (
            <button type="button" class="danger" onClick={() => setDeleting(true)}>
              Delete
            </button>
          )}
          {canWrite && (
            <>
              <button type="button" disabled={!isChanged} onClick={() => adopt(base)}>
                Undo changes
              </button>
              <button type="submit" class="primary" disabled={isBusy}>
                Save
              </button>
            </>
          )}
        </div>
      </form>
      {conflict !== undefined && (
        <Conflict
          all={conflict.all}
          onClose={() => setConflict(undefined)}
          onTheirs={() => {
            setConflict(undefined)
            adopt(conflict.theirs)
            say("Their version is in the form")
          }}
          onChosen={(chosen) => settle(conflict.theirs, conflict.all, chosen)}
        />
      )}
      {isGone && (
        <Dialog title="The document is gone" onClose={() => setGone(false)}>
          <p>Somebody has deleted it since you have read it. What is in the form is not saved.</p>
          <div class="actions">
            <button type="button" onClick={() => setGone(false)}>
              Back to the form
            </button>
            <a class="button" href={linkTo("resources", name)}>
              All of {name}
            </a>
          </div>
        </Dialog>
      )}
      {isDeleting && (
        <Confirm title="Delete this document?" label="Delete" doIt={remove} onClose={() => setDeleting(false)}>
          <p>
            <code>{id}</code> of {name} will be deleted{operations.includes("history") ? "; its versions stay" : ""}.
          </p>
        </Confirm>
      )}
    </>
  )
}
