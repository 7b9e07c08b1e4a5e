/** What does not belong to a resource: plugins, costs, what the store can do. */
import { listOf, numberOf, objectOf, textOf } from "./client.tsx"
import { asText, at, bytes, type Json } from "./model.ts"
import { Heading, plural, Show, useApp, useLoaded, Wide } from "./parts.tsx"

const ago = (since: string): string => {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(since)) / 1000))
  if (seconds < 120) return `${seconds} s ago`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`
  return `${Math.round(seconds / 3600)} h ago`
}

const useData = (name: string) => {
  const { client } = useApp()
  return useLoaded(async (signal) => objectOf(await client.get(`/-/admin/${name}`, signal)), [name])
}

const Again = ({ again }: { readonly again: () => void }) => (
  <button type="button" onClick={again}>
    Look again
  </button>
)

const textAt = (value: Json, name: string): string => asText(at(value, name))

export const Plugins = () => {
  const [loaded, again] = useData("plugins")
  return (
    <>
      <Heading title="Plugins">
        <Again again={again} />
      </Heading>
      <Show loaded={loaded}>
        {({ installed, journal, leases, open }) => (
          <>
            <h2>Open in this process</h2>
            {listOf(open).length === 0 ? (
              <p>None.</p>
            ) : (
              <Wide label="Plugins that are open">
                <table>
                  <thead>
                    <tr>
                      <th scope="col">Plugin</th>
                      <th scope="col">State</th>
                      <th scope="col">Health</th>
                      <th scope="col">Counts</th>
                    </tr>
                  </thead>
                  <tbody>
                    {listOf(open).map((one) => {
                      const level = textAt(at(one, "health") ?? null, "level")
                      return (
                        <tr>
                          <th scope="row">
                            {textAt(one, "slug")} {textAt(one, "name")}
                          </th>
                          <td>
                            {textAt(one, "state")} <span class="quiet">since {ago(textAt(one, "since"))}</span>
                          </td>
                          <td>
                            <span class={`level ${level}`}>{level}</span> {textAt(at(one, "health") ?? null, "detail")}
                          </td>
                          <td>
                            {Object.entries(objectOf(at(one, "counters") ?? null)).map(([name, count]) => (
                              <span class="tag">
                                {name} {numberOf(count).toLocaleString("en")}
                              </span>
                            ))}
                          </td>
                        </tr>
                      )
                    })}
                  </tbody>
                </table>
              </Wide>
            )}
            {journal !== undefined && (
              <>
                <h2>Journal</h2>
                {at(journal, "isDamaged") === true && <p class="problem">It is damaged: nothing is journaled.</p>}
                <dl>
                  <dt>Entries that wait to be journaled</dt>
                  <dd>
                    {at(journal, "isWhole") === true ? "" : "at least "}
                    {numberOf(at(journal, "waiting")).toLocaleString("en")}
                  </dd>
                  <dt>Positions</dt>
                  <dd>
                    {textAt(journal, "first")} to {textAt(journal, "next")}
                  </dd>
                  <dt>Stored</dt>
                  <dd>
                    {plural(numberOf(at(journal, "segments")), "segment")}, {bytes(numberOf(at(journal, "bytes")))}
                  </dd>
                </dl>
              </>
            )}
            <h2>Leases</h2>
            {listOf(leases).length === 0 ? (
              <p>Nobody has ever taken one.</p>
            ) : (
              <Wide label="Leases">
                <table>
                  <thead>
                    <tr>
                      <th scope="col">Of</th>
                      <th scope="col">State</th>
                      <th scope="col" class="number">
                        Holders so far
                      </th>
                      <th scope="col">Renewed</th>
                    </tr>
                  </thead>
                  <tbody>
                    {listOf(leases).map((one) => (
                      <tr>
                        <th scope="row">{textAt(one, "of")}</th>
                        <td>{textAt(one, "state")}</td>
                        <td class="number">{textAt(one, "token")}</td>
                        <td>
                          {textAt(one, "renewedAt") === "" ? "" : ago(textAt(one, "renewedAt"))}{" "}
                          <span class="quiet">for {numberOf(at(one, "millis")) / 1000} s</span>
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </Wide>
            )}
            <h2>In the catalog</h2>
            {listOf(installed).length === 0 ? (
              <p>None.</p>
            ) : (
              <ul>
                {listOf(installed).map((one) => (
                  <li>
                    {textAt(one, "plugin")} {textAt(one, "namespace")}{" "}
                    <span class="quiet">version {textAt(one, "version")}</span>
                    {at(one, "isInstalled") === false && " (uninstalled)"}
                  </li>
                ))}
              </ul>
            )}
          </>
        )}
      </Show>
    </>
  )
}

const dollars = (amount: number): string =>
  amount === 0 ? "$0" : amount < 0.01 ? `$${amount.toPrecision(2)}` : `$${amount.toFixed(2)}`

export const Costs = () => {
  const [loaded, again] = useData("costs")
  return (
    <>
      <Heading title="Costs">
        <Again again={again} />
      </Heading>
      <Show loaded={loaded}>
        {({ estimate = null, storage = null, totals }) => {
          const rows = [...listOf(totals)].sort((a, b) => numberOf(at(b, "dollars")) - numberOf(at(a, "dollars")))
          const all = rows.reduce<number>((sum, one) => sum + numberOf(at(one, "dollars")), 0)
          return (
            <>
              <dl>
                <dt>{textAt(estimate, "days")} days like the last one</dt>
                <dd>
                  {dollars(numberOf(at(estimate, "dollars")))}{" "}
                  <span class="quiet">
                    requests {dollars(numberOf(at(estimate, "dollarsForRequests")))}, storage{" "}
                    {dollars(numberOf(at(estimate, "dollarsForStorage")))}, by {textAt(estimate, "prices")}
                  </span>
                </dd>
                <dt>Stored</dt>
                <dd>
                  {plural(numberOf(at(storage, "objects")), "object")}, {bytes(numberOf(at(storage, "bytes")))}
                  {at(storage, "isMeasured") === false && (
                    <span class="quiet"> since requests are counted: it was never measured</span>
                  )}
                </dd>
                <dt>Requests of this process</dt>
                <dd>{dollars(all)}</dd>
              </dl>
              <h2>By whom</h2>
              {rows.length === 0 ? (
                <p>No requests yet.</p>
              ) : (
                <Wide label="Requests of this process">
                  <table>
                    <thead>
                      <tr>
                        <th scope="col">Resource</th>
                        <th scope="col">Plugin</th>
                        <th scope="col">Operation</th>
                        <th scope="col">Request</th>
                        <th scope="col" class="number">
                          Times
                        </th>
                        <th scope="col" class="number">
                          Transfer
                        </th>
                        <th scope="col" class="number">
                          Cost
                        </th>
                      </tr>
                    </thead>
                    <tbody>
                      {rows.slice(0, 200).map((one) => (
                        <tr>
                          <th scope="row">{textAt(one, "resource") || "the database"}</th>
                          <td>{textAt(one, "plugin")}</td>
                          <td>{textAt(one, "operation")}</td>
                          <td>{textAt(one, "kind")}</td>
                          <td class="number">{numberOf(at(one, "requests")).toLocaleString("en")}</td>
                          <td class="number">{bytes(numberOf(at(one, "sent")) + numberOf(at(one, "received")))}</td>
                          <td class="number">{dollars(numberOf(at(one, "dollars")))}</td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </Wide>
              )}
            </>
          )
        }}
      </Show>
    </>
  )
}

/** What each ability means to the database. */
const abilities: ReadonlyArray<readonly [string, string, string]> = [
  [
    "createIfAbsent",
    "Creates only what is not there",
    "without it two writers could create one document: one process at a time may write"
  ],
  [
    "compareAndSet",
    "Replaces only what was read",
    "without it changes of others could be lost: one process at a time may write"
  ],
  ["conditionalDelete", "Deletes only what was read", "without it deletions take a request more"],
  ["conditionalCopy", "Copies only what was read", "not needed for documents"],
  ["orderedList", "Lists in the order of keys", "without it pages read more, and some plugins are refused"],
  [
    "etagForm",
    "How an ETag is written in a condition",
    "quoted, as the standard says, or as this server understands it"
  ],
  ["metadataBytes", "Bytes of metadata", "what of a document fits in is read with no body"],
  ["metadataEntryBytes", "Bytes of one entry of metadata", ""],
  ["metadataEntries", "Entries of metadata", ""],
  ["metadataHeaderBytes", "Bytes of headers for metadata", ""],
  ["metadataKept", "Gives metadata back as it was", "without it there is no database"],
  ["listedKeys", "How keys are written in a listing", ""],
  ["sureAnswers", "Never loses an answer", "so it is in memory and in a folder, on no network"]
]

export const Store = () => {
  const [loaded, again] = useData("store")
  return (
    <>
      <Heading title="Store">
        <Again again={again} />
      </Heading>
      <Show loaded={loaded}>
        {({ capabilities = null, location }) => (
          <>
            <p>
              <code>{textOf(location)}</code>
            </p>
            <Wide label="What the store can do">
              <table>
                <thead>
                  <tr>
                    <th scope="col">Ability</th>
                    <th scope="col">It has</th>
                    <th scope="col">What that means</th>
                  </tr>
                </thead>
                <tbody>
                  {abilities
                    .filter(([name]) => at(capabilities, name) !== undefined)
                    .map(([name, label, meaning]) => {
                      const value = at(capabilities, name)
                      return (
                        <tr>
                          <th scope="row">{label}</th>
                          <td>
                            {typeof value === "boolean" ? (
                              <span class={`level ${value ? "up" : "degraded"}`}>{value ? "yes" : "no"}</span>
                            ) : typeof value === "number" ? (
                              value.toLocaleString("en")
                            ) : (
                              asText(value)
                            )}
                          </td>
                          <td>{meaning}</td>
                        </tr>
                      )
                    })}
                </tbody>
              </table>
            </Wide>
          </>
        )}
      </Show>
    </>
  )
}
