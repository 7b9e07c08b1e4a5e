/** The content of a document: what there is, a download, an upload. */
import { useId, useRef, useState } from "preact/hooks"
import { Failure } from "./client.tsx"
import { bytes, type Resource } from "./model.ts"
import { Confirm, Problem, Show, useApp, useLoaded } from "./parts.tsx"

interface Content {
  readonly type: string
  readonly size: number
  readonly sha256: string
}

export const ContentView = ({ id, resource }: { readonly resource: Resource; readonly id: string }) => {
  const { client, say } = useApp()
  const { maxContentBytes, operations } = resource
  const inputId = useId()
  const file = useRef<HTMLInputElement>(null)
  const [error, setError] = useState<unknown>()
  const [isBusy, setBusy] = useState(false)
  const [isDeleting, setDeleting] = useState(false)
  const path = client.path(resource.name, id, "content")
  const [loaded, again] = useLoaded(
    async (signal): Promise<Content | undefined> => {
      try {
        const { headers } = await client.send(path, { method: "HEAD", signal })
        return {
          type: headers.get("content-type") ?? "",
          size: Number(headers.get("content-length") ?? 0),
          sha256: (headers.get("etag") ?? "").replaceAll('"', "")
        }
      } catch (failure) {
        if (failure instanceof Failure && failure.status === 404) return undefined
        throw failure
      }
    },
    [path]
  )

  const run = (doing: Promise<unknown>, done: string) => {
    setBusy(true)
    setError(undefined)
    doing
      .then(() => {
        say(done)
        if (file.current !== null) file.current.value = ""
        again()
      }, setError)
      .finally(() => setBusy(false))
  }

  const upload = (event: Event) => {
    event.preventDefault()
    const chosen = file.current?.files?.[0]
    if (chosen === undefined) return setError(new Error("Choose a file first."))
    if (chosen.size > maxContentBytes) return setError(new Error(`A content has at most ${bytes(maxContentBytes)}.`))
    run(
      client.send(path, {
        method: "PUT",
        file: chosen,
        headers: { "content-type": chosen.type || "application/octet-stream" }
      }),
      "Uploaded"
    )
  }

  const download = () => {
    setError(undefined)
    client.download(path).then((blob) => {
      const url = URL.createObjectURL(blob)
      const link = document.createElement("a")
      link.href = url
      link.download = id
      link.click()
      URL.revokeObjectURL(url)
    }, setError)
  }

  return (
    <Show loaded={loaded}>
      {(content) => (
        <>
          {content === undefined ? (
            <p>This document has no content.</p>
          ) : (
            <>
              <dl>
                <dt>Type</dt>
                <dd>{content.type}</dd>
                <dt>Size</dt>
                <dd>{bytes(content.size)}</dd>
                <dt>SHA-256</dt>
                <dd>
                  <code>{content.sha256}</code>
                </dd>
              </dl>
              <div class="row">
                <button type="button" onClick={download}>
                  Download
                </button>
                {operations.includes("deleteContent") && (
                  <button type="button" class="danger" onClick={() => setDeleting(true)}>
                    Delete content
                  </button>
                )}
              </div>
            </>
          )}
          {operations.includes("setContent") && (
            <form class="document" onSubmit={upload}>
              <div class="field">
                <label for={inputId}>{content === undefined ? "File" : "Another file in its place"}</label>
                <input id={inputId} ref={file} type="file" />
                <p class="hint">At most {bytes(maxContentBytes)}.</p>
              </div>
              <div class="actions">
                <button type="submit" class="primary" disabled={isBusy}>
                  Upload
                </button>
              </div>
            </form>
          )}
          {error !== undefined && <Problem error={error} />}
          {isDeleting && (
            <Confirm
              title="Delete the content?"
              label="Delete"
              doIt={async () => {
                await client.send(path, { method: "DELETE" })
                say("Content deleted")
                again()
              }}
              onClose={() => setDeleting(false)}
            >
              <p>
                The content of <code>{id}</code> will be deleted; the document stays.
              </p>
            </Confirm>
          )}
        </>
      )}
    </Show>
  )
}
