/** The resources, and what they take. */
import { useState } from "preact/hooks"
import { listOf, numberOf, objectOf, textOf } from "./client.tsx"
import { at, bytes, linkTo } from "./model.ts"
import { Heading, messageOf, plural, useApp, useLoaded, Wide } from "./parts.tsx"

interface Size {
  readonly documents: number
  readonly objects: number
  readonly bytes: number
  readonly parts: ReadonlyMap<string, { readonly objects: number; readonly bytes: number }>
  /** Of what has not been looked at yet. */
  readonly token: string
}

const none: Size = { documents: 0, objects: 0, bytes: 0, parts: new Map(), token: "" }

const partNames: Readonly<Record<string, string>> = {
  data: "documents",
  partition: "partitions",
  unique: "unique keys",
  content: "content",
  historical: "history",
  plugin: "plugins",
  companion: "companions"
}

const useSize = (resource: string) => {
  const { client } = useApp()
  const [known, setKnown] = useState<Size>(none)
  const [isBusy, setBusy] = useState(false)
  const ask = async (before: Size, signal?: AbortSignal): Promise<Size> => {
    const query = new URLSearchParams({ resource, ...(before.token === "" ? {} : { token: before.token }) })
    const found = objectOf(await client.get(`/-/admin/sizes?${query}`, signal))
    const parts = new Map(before.parts)
    for (const part of listOf(found["parts"])) {
      const name = textOf(at(part, "name"))
      const was = parts.get(name) ?? { objects: 0, bytes: 0 }
      parts.set(name, {
        objects: was.objects + numberOf(at(part, "objects")),
        bytes: was.bytes + numberOf(at(part, "bytes"))
      })
    }
    return {
      documents: before.documents + numberOf(found["documents"]),
      objects: before.objects + numberOf(found["objects"]),
      bytes: before.bytes + numberOf(found["bytes"]),
      parts,
      token: textOf(found["token"])
    }
  }
  const [first] = useLoaded((signal) => ask(none, signal), [resource])
  const size = known === none && first.state === "loaded" ? first.value : known
  const countOn = () => {
    setBusy(true)
    ask(size)
      .then(setKnown, () => {})
      .finally(() => setBusy(false))
  }
  return { first, size, isBusy, countOn }
}

const Sizes = ({ resource }: { readonly resource: string }) => {
  const { countOn, first, isBusy, size } = useSize(resource)
  if (first.state === "failed") return <td colSpan={3}>{messageOf(first.failure)}</td>
  const isWhole = size.token === ""
  const more = isWhole ? "" : "at least "
  return (
    <>
      <td class="number">
        {first.state === "loading" ? "…" : `${more}${size.documents.toLocaleString("en")}`}
        {!isWhole && (
          <button type="button" class="small" disabled={isBusy} onClick={countOn}>
            Count on<span class="hidden"> in {resource}</span>
          </button>
        )}
      </td>
      <td class="number">{first.state === "loading" ? "…" : `${more}${bytes(size.bytes)}`}</td>
      <td>
        {[...size.parts].map(([name, part]) => (
          <span class="tag">
            {Object.hasOwn(partNames, name) ? partNames[name] : name} {part.objects.toLocaleString("en")}
          </span>
        ))}
      </td>
    </>
  )
}

export const Overview = () => {
  const { session } = useApp()
  return (
    <>
      <Heading title="Resources" />
      <Wide label="Resources">
        <table>
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col" class="number">
                Documents
              </th>
              <th scope="col" class="number">
                Bodies
              </th>
              <th scope="col">Objects</th>
              <th scope="col">Has</th>
            </tr>
          </thead>
          <tbody>
            {session.resources.map(({ guarded, journal, name, operations, partitions, resource, unique }) => (
              <tr>
                <th scope="row">
                  <a href={linkTo("resources", name)}>{name}</a>
                </th>
                <Sizes resource={resource} />
                <td>
                  {Object.keys(partitions).length > 0 && (
                    <span class="tag">{plural(Object.keys(partitions).length, "partition")}</span>
                  )}
                  {Object.keys(unique).length > 0 && (
                    <span class="tag">{plural(Object.keys(unique).length, "unique key")}</span>
                  )}
                  {operations.includes("history") && <span class="tag">history</span>}
                  {operations.includes("getContent") && <span class="tag">content</span>}
                  {journal && <span class="tag">journal</span>}
                  {guarded && <span class="tag">guarded</span>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Wide>
      <p class="quiet">
        Counted by listing: 1 request for each 1,000 objects, the first 10,000 by themselves. Fields that are kept in
        the metadata of an object are in no listing, and so not among the bytes.
      </p>
      {session.others.length > 0 && (
        <>
          <h2>In the catalog, and not served</h2>
          <Wide label="Resources that are not served">
            <table>
              <thead>
                <tr>
                  <th scope="col">Name</th>
                  <th scope="col" class="number">
                    Version
                  </th>
                  <th scope="col" class="number">
                    Fields
                  </th>
                </tr>
              </thead>
              <tbody>
                {session.others.map(({ fields, name, version }) => (
                  <tr>
                    <th scope="row">{name}</th>
                    <td class="number">{version}</td>
                    <td class="number">{fields}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Wide>
        </>
      )}
    </>
  )
}
