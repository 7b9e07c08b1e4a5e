/** A document that somebody else has changed meanwhile: theirs, mine, or field by field. */
import { useState } from "preact/hooks"
import { type Clash, keyOf } from "./model.ts"
import { Dialog, Value, Wide } from "./parts.tsx"

const by = { them: "they", me: "you", both: "both" } as const

export const Conflict = ({
  all,
  onChosen,
  onClose,
  onTheirs
}: {
  readonly all: ReadonlyArray<Clash>
  readonly onClose: () => void
  readonly onTheirs: () => void
  readonly onChosen: (mine: ReadonlySet<string>) => void
}) => {
  const [isOpen, setOpen] = useState(false)
  // What only one side has changed is nobody's conflict.
  const [mine, setMine] = useState<ReadonlySet<string>>(
    new Set(all.filter((one) => one.by === "me").map(({ path }) => keyOf(path)))
  )
  const [decided, setDecided] = useState<ReadonlySet<string>>(
    new Set(all.filter((one) => one.by !== "both").map(({ path }) => keyOf(path)))
  )
  const take = (key: string, isMine: boolean) => {
    const next = new Set(mine)
    if (isMine) next.add(key)
    else next.delete(key)
    setMine(next)
    setDecided(new Set([...decided, key]))
  }
  return (
    <Dialog title="Somebody else has changed this document" onClose={onClose}>
      <p>Nothing is saved yet. Keep their version, save yours over it, or look at the differences and choose.</p>
      <div class="actions">
        <button type="button" onClick={onClose}>
          Back to the form
        </button>
        <button type="button" onClick={onTheirs}>
          Take theirs
        </button>
        <button
          type="button"
          onClick={() => onChosen(new Set(all.filter((one) => one.by !== "them").map(({ path }) => keyOf(path))))}
        >
          Save mine
        </button>
        <button type="button" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          Look at the differences
        </button>
      </div>
      {isOpen && (
        <>
          <Wide label="Differences">
            <table class="differences">
              <thead>
                <tr>
                  <th scope="col">Field</th>
                  <th scope="col">Before</th>
                  <th scope="col">Theirs</th>
                  <th scope="col">Mine</th>
                </tr>
              </thead>
              <tbody>
                {all.map(({ base, by: who, mine: my, path, theirs }) => {
                  const key = keyOf(path)
                  const isDecided = decided.has(key)
                  return (
                    <tr>
                      <th scope="row">
                        {path.join(".")} <span class="quiet">{by[who]} changed it</span>
                      </th>
                      <td>
                        <Value value={base} />
                      </td>
                      <td>
                        <label>
                          <input
                            type="radio"
                            name={key}
                            checked={isDecided && !mine.has(key)}
                            onChange={() => take(key, false)}
                          />{" "}
                          <Value value={theirs} />
                        </label>
                      </td>
                      <td>
                        <label>
                          <input
                            type="radio"
                            name={key}
                            checked={isDecided && mine.has(key)}
                            onChange={() => take(key, true)}
                          />{" "}
                          <Value value={my} />
                        </label>
                      </td>
                    </tr>
                  )
                })}
              </tbody>
            </table>
          </Wide>
          <div class="actions">
            <button
              type="button"
              class="primary"
              disabled={all.some(({ path }) => !decided.has(keyOf(path)))}
              onClick={() => onChosen(mine)}
            >
              Save what is chosen
            </button>
          </div>
        </>
      )}
    </Dialog>
  )
}
