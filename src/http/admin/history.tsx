/** The versions of a document, and what each has changed. */
import { useState } from "preact/hooks"
import { Failure, listOf, numberOf, objectOf, textOf } from "./client.tsx"
import { at, differences, type JsonObject, type Resource, visible } from "./model.ts"
import { Show, useApp, useLoaded, Value, Wide } from "./parts.tsx"

interface Version {
  /** Its number; of the present one that it is that. */
  readonly label: string
  readonly writtenAt: string
  readonly document: JsonObject
}

/** What there is, or nothing where there is none of it. */
const orNone = async <A,>(asked: Promise<A>): Promise<A | undefined> => {
  try {
    return await asked
  } catch (error) {
    if (error instanceof Failure && error.status === 404) return undefined
    throw error
  }
}

/** What the API gives at once. */
const most = 1000

export const HistoryView = ({ id, resource }: { readonly resource: Resource; readonly id: string }) => {
  const { client } = useApp()
  const { name } = resource
  const [limit, setLimit] = useState(100)
  const [loaded] = useLoaded(
    async (signal): Promise<ReadonlyArray<Version>> => {
      const [present, past] = await Promise.all([
        orNone(client.send(client.path(name, id), { signal })),
        orNone(client.get(`${client.path(name, id, "history")}?limit=${limit}`, signal))
      ])
      const now: ReadonlyArray<Version> =
        present === undefined
          ? []
          : [{ label: "now", writtenAt: present.headers.get("last-modified") ?? "", document: objectOf(present.json) }]
      const before = listOf(at(past, "items"))
        .map((one) => ({
          version: numberOf(at(one, "version")),
          writtenAt: textOf(at(one, "writtenAt")),
          document: objectOf(at(one, "document") ?? null)
        }))
        .sort((a, b) => b.version - a.version)
      return [...now, ...before.map(({ version, ...rest }) => ({ label: String(version), ...rest }))]
    },
    [name, id, limit]
  )
  return (
    <Show loaded={loaded}>
      {(versions) => (
        <>
          {versions.length === 0 ? <p>There never was such a document.</p> : <Versions versions={versions} />}
          {versions.length > limit && limit < most && (
            <button type="button" onClick={() => setLimit(most)}>
              Read older versions, too
            </button>
          )}
        </>
      )}
    </Show>
  )
}

/** The newest first. */
const Versions = ({ versions }: { readonly versions: ReadonlyArray<Version> }) => {
  const newest = versions[0]?.label ?? ""
  const [after, setAfter] = useState(newest)
  const [before, setBefore] = useState(versions[1]?.label ?? newest)
  const documentOf = (label: string) => versions.find((one) => one.label === label)?.document
  const found = differences(documentOf(before), documentOf(after))
  const choice = (text: string, value: string, set: (label: string) => void) => (
    <label>
      {text}{" "}
      <select value={value} onChange={({ currentTarget }) => set(currentTarget.value)}>
        {versions.map(({ label, writtenAt }) => (
          <option value={label}>
            {label}: {new Date(writtenAt).toLocaleString("en")}
          </option>
        ))}
      </select>
    </label>
  )
  return (
    <>
      {newest !== "now" && <p>The document is deleted: these are the versions that it had.</p>}
      <div class="row">
        {choice("From version", before, setBefore)}
        {choice("to version", after, setAfter)}
      </div>
      {found.length === 0 ? (
        <p>{versions.length === 1 ? "There is one version." : "The versions are the same."}</p>
      ) : (
        <Wide label="Differences">
          <table class="differences">
            <thead>
              <tr>
                <th scope="col">Field</th>
                <th scope="col">Version {before}</th>
                <th scope="col">Version {after}</th>
              </tr>
            </thead>
            <tbody>
              {found.map(({ after, before, path }) => (
                <tr>
                  <th scope="row">{visible(path.join("."))}</th>
                  <td>
                    <del>
                      <Value value={before} />
                    </del>
                  </td>
                  <td>
                    <ins>
                      <Value value={after} />
                    </ins>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Wide>
      )}
      <h2>Version {after}</h2>
      <pre class="json" tabIndex={0} aria-label={`Version ${after} as JSON`} role="region">
        {visible(JSON.stringify(documentOf(after), null, 2))}
      </pre>
    </>
  )
}
