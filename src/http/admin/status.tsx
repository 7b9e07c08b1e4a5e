/** What does not belong to a resource: plugins, costs, what the store can do. */
import type { ComponentChildren } from "preact"
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

interface Column {
  readonly head: string
  readonly isNumber?: boolean
  readonly cell: (row: Json) => ComponentChildren
}

/** A table of what the server gives: the first column says of what each row is. */
const Rows = ({
  columns,
  label,
  none,
  rows
}: {
  readonly label: string
  /** What is said where there are no rows. */
  readonly none: string
  readonly rows: ReadonlyArray<Json>
  readonly columns: ReadonlyArray<Column>
}) =>
  rows.length === 0 ? (
    <p>{none}</p>
  ) : (
    <Wide label={label}>
      <table>
        <thead>
          <tr>
            {columns.map(({ head, isNumber = false }) => (
              <th scope="col" class={isNumber ? "number" : undefined}>
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr>
              {columns.map(({ cell, isNumber = false }, at) =>
                at === 0 ? (
                  <th scope="row">{cell(row)}</th>
                ) : (
                  <td class={isNumber ? "number" : undefined}>{cell(row)}</td>
                )
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  )

const textAt = (value: Json, name: string): string => asText(at(value, name))

const openColumns: ReadonlyArray<Column> = [
  { head: "Plugin", cell: (one) => `${textAt(one, "slug")} ${textAt(one, "name")}` },
  {
    head: "State",
    cell: (one) => (
      <>
        {textAt(one, "state")} <span class="quiet">since {ago(textAt(one, "since"))}</span>
      </>
    )
  },
  {
    head: "Health",
    cell: (one) => {
      const health = at(one, "health") ?? null
      const level = textAt(health, "level")
      return (
        <>
          <span class={`level ${level}`}>{level}</span> {textAt(health, "detail")}
        </>
      )
    }
  },
  {
    head: "Counts",
    cell: (one) =>
      Object.entries(objectOf(at(one, "counters") ?? null)).map(([name, count]) => (
        <span class="tag">
          {name} {numberOf(count).toLocaleString("en")}
        </span>
      ))
  }
]

const leaseColumns: ReadonlyArray<Column> = [
  { head: "Of", cell: (one) => textAt(one, "of") },
  { head: "State", cell: (one) => textAt(one, "state") },
  { head: "Holders so far", isNumber: true, cell: (one) => textAt(one, "token") },
  {
    head: "Renewed",
    cell: (one) => (
      <>
        {textAt(one, "renewedAt") === "" ? "" : ago(textAt(one, "renewedAt"))}{" "}
        <span class="quiet">for {numberOf(at(one, "millis")) / 1000} s</span>
      </>
    )
  }
]

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
            <Rows label="Plugins that are open" none="None." rows={listOf(open)} columns={openColumns} />
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
            <Rows label="Leases" none="Nobody has ever taken one." rows={listOf(leases)} columns={leaseColumns} />
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

const costColumns: ReadonlyArray<Column> = [
  { head: "Resource", cell: (one) => textAt(one, "resource") || "the database" },
  { head: "Plugin", cell: (one) => textAt(one, "plugin") },
  { head: "Operation", cell: (one) => textAt(one, "operation") },
  { head: "Request", cell: (one) => textAt(one, "kind") },
  { head: "Times", isNumber: true, cell: (one) => numberOf(at(one, "requests")).toLocaleString("en") },
  {
    head: "Transfer",
    isNumber: true,
    cell: (one) => bytes(numberOf(at(one, "sent")) + numberOf(at(one, "received")))
  },
  { head: "Cost", isNumber: true, cell: (one) => dollars(numberOf(at(one, "dollars"))) }
]

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
              <Rows
                label="Requests of this process"
                none="No requests yet."
                rows={rows.slice(0, 200)}
                columns={costColumns}
              />
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

const abilityColumns: ReadonlyArray<Column> = [
  { head: "Ability", cell: (one) => textAt(one, "label") },
  {
    head: "It has",
    cell: (one) => {
      const value = at(one, "value")
      return typeof value === "boolean" ? (
        <span class={`level ${value ? "up" : "degraded"}`}>{value ? "yes" : "no"}</span>
      ) : typeof value === "number" ? (
        value.toLocaleString("en")
      ) : (
        asText(value)
      )
    }
  },
  { head: "What that means", cell: (one) => textAt(one, "meaning") }
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
            <Rows
              label="What the store can do"
              none="That is not known."
              rows={abilities.flatMap(([name, label, meaning]) => {
                const value = at(capabilities, name)
                return value === undefined ? [] : [{ label, meaning, value }]
              })}
              columns={abilityColumns}
            />
          </>
        )}
      </Show>
    </>
  )
}
