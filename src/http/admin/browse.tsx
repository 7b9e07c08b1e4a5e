/** The documents of a resource: filters, partitions, an order, and pages by cursor. */
import { useEffect, useId, useState } from "preact/hooks"
import { Failure, listOf, numberOf, objectOf, textOf } from "./client.tsx"
import {
  asText,
  at,
  atPath,
  canBeNamed,
  type Condition,
  deletionsOf,
  etagOf,
  filterOf,
  isObject,
  type Json,
  type JsonObject,
  linkTo,
  operandOf,
  operators,
  type Resource,
  typesOf,
  visible,
  wantedOf
} from "./model.ts"
import { Confirm, Heading, plural, Problem, Show, useApp, useLoaded, useResource, Wide } from "./parts.tsx"

/** What is asked for, as it stands in the address: so that it can be left and come back to. */
interface Asked {
  readonly filter: string
  readonly partition: string
  readonly values: string
  readonly order: string
  readonly limit: string
}

const readAsked = (query: string): Asked => {
  const given = new URLSearchParams(query)
  const text = (name: string) => given.get(name) ?? ""
  return {
    filter: text("filter"),
    partition: text("partition"),
    values: text("values"),
    order: text("order"),
    limit: text("limit")
  }
}

const toQuery = (asked: Asked): string =>
  new URLSearchParams(Object.entries(asked).filter(([, value]) => value !== "")).toString()

const parsed = (text: string): Json | undefined => {
  try {
    return JSON.parse(text) as Json
  } catch {
    return undefined
  }
}

/** The conditions of a filter that has the form of this page, or nothing. */
const conditionsOf = (filter: string): ReadonlyArray<Condition> | undefined => {
  if (filter === "") return []
  const json = parsed(filter)
  const all = isObject(json) && Array.isArray(json["$and"]) && Object.keys(json).length === 1 ? json["$and"] : [json]
  const found = (all as ReadonlyArray<Json | undefined>).flatMap((one): ReadonlyArray<Condition> => {
    const [entry, ...more] = isObject(one) ? Object.entries(one) : []
    const [operation, ...others] = entry !== undefined && isObject(entry[1]) ? Object.entries(entry[1]) : []
    if (entry === undefined || operation === undefined || more.length + others.length > 0) return []
    const [operator, operand] = operation
    if (operators.every(([known]) => known !== operator)) return []
    const text = operator === "in" && Array.isArray(operand) ? operand.map(asText).join(",") : asText(operand)
    return [{ field: entry[0], operator, text }]
  })
  return found.length === all.length ? found : undefined
}

const Filters = ({
  asked,
  onAsk,
  resource
}: {
  readonly asked: Asked
  readonly onAsk: (asked: Asked) => void
  readonly resource: Resource
}) => {
  const id = useId()
  const types = typesOf(resource)
  const known = conditionsOf(asked.filter)
  const [conditions, setConditions] = useState<ReadonlyArray<Condition>>(known ?? [])
  const [isJson, setJson] = useState(known === undefined)
  const [json, setJsonText] = useState(asked.filter)
  const [partition, setPartition] = useState(asked.partition)
  const given = objectOf(parsed(asked.values) ?? null)
  const [values, setValues] = useState<Readonly<Record<string, string>>>(
    Object.fromEntries(Object.entries(given).map(([name, value]) => [name, asText(value)]))
  )
  const [order, setOrder] = useState(asked.order)
  const [limit, setLimit] = useState(asked.limit)
  const [problem, setProblem] = useState("")

  const set = (index: number, change: Partial<Condition>) =>
    setConditions(conditions.map((one, i) => (i === index ? { ...one, ...change } : one)))

  const fields = Object.hasOwn(resource.partitions, partition) ? (resource.partitions[partition] ?? []) : []

  const submit = (event: Event) => {
    event.preventDefault()
    const filter = isJson ? json.trim() : JSON.stringify(filterOf(conditions, types) ?? "")
    if (isJson && filter !== "" && parsed(filter) === undefined) {
      setProblem("The filter is no JSON.")
      return
    }
    setProblem("")
    const operands = fields
      .filter(({ path }) => Object.hasOwn(values, path) && values[path] !== "")
      .map(({ path }) => [path, operandOf(values[path] ?? "", types.get(path) ?? "string")] as const)
    onAsk({
      filter: filter === '""' ? "" : filter,
      partition,
      values: operands.length === 0 ? "" : JSON.stringify(Object.fromEntries(operands)),
      order: order.trim(),
      limit
    })
  }

  const clear = () => {
    setConditions([])
    setJsonText("")
    setJson(false)
    setPartition("")
    setValues({})
    setOrder("")
    setProblem("")
    onAsk({ filter: "", partition: "", values: "", order: "", limit })
  }

  return (
    <form class="filters" onSubmit={submit} aria-label="Filters">
      {isJson ? (
        <div class="field">
          <label for={`${id}json`}>Filter (JSON)</label>
          <textarea
            id={`${id}json`}
            rows={3}
            spellcheck={false}
            value={json}
            onInput={({ currentTarget }) => setJsonText(currentTarget.value)}
          />
        </div>
      ) : (
        conditions.map(({ field, operator, text }, index) => (
          <fieldset class="condition">
            <legend class="hidden">Condition {index + 1}</legend>
            <select
              aria-label="Field"
              value={field}
              onChange={({ currentTarget }) => set(index, { field: currentTarget.value })}
            >
              {[...types.keys()].map((name) => (
                <option value={name}>{name}</option>
              ))}
            </select>
            <select
              aria-label="Comparison"
              value={operator}
              onChange={({ currentTarget }) => set(index, { operator: currentTarget.value })}
            >
              {operators.map(([name, label]) => (
                <option value={name}>{label}</option>
              ))}
            </select>
            <input
              aria-label="Value"
              value={text}
              placeholder={operator === "in" ? "a,b,c" : operator === "exists" ? "true or false" : ""}
              onInput={({ currentTarget }) => set(index, { text: currentTarget.value })}
            />
            <button type="button" onClick={() => setConditions(conditions.filter((_, i) => i !== index))}>
              Remove<span class="hidden"> condition {index + 1}</span>
            </button>
          </fieldset>
        ))
      )}
      <div class="row">
        {!isJson && (
          <button
            type="button"
            onClick={() => {
              const field = [...types.keys()][0] ?? resource.primaryKey
              setConditions([...conditions, { field, operator: "eq", text: "" }])
            }}
          >
            Add a condition
          </button>
        )}
        <button
          type="button"
          onClick={() => {
            if (!isJson) setJsonText(JSON.stringify(filterOf(conditions, types) ?? {}))
            else setConditions(conditionsOf(json) ?? [])
            setJson(!isJson)
          }}
        >
          {isJson ? "By conditions" : "As JSON"}
        </button>
        {Object.keys(resource.partitions).length > 0 && (
          <label>
            Partition{" "}
            <select value={partition} onChange={({ currentTarget }) => setPartition(currentTarget.value)}>
              <option value="">all documents</option>
              {Object.keys(resource.partitions).map((name) => (
                <option value={name}>{name}</option>
              ))}
            </select>
          </label>
        )}
        {fields.map(({ path, transforms }) => (
          <label>
            {path}
            {transforms.length > 0 && ` (${transforms.join(", ")})`}{" "}
            <input
              value={Object.hasOwn(values, path) ? values[path] : ""}
              onInput={({ currentTarget }) => setValues({ ...values, [path]: currentTarget.value })}
            />
          </label>
        ))}
        <label>
          Order{" "}
          <input
            value={order}
            placeholder={`-${resource.primaryKey}`}
            onInput={({ currentTarget }) => setOrder(currentTarget.value)}
          />
        </label>
        <label>
          Rows{" "}
          <select value={limit} onChange={({ currentTarget }) => setLimit(currentTarget.value)}>
            {["", "20", "50", "200", "1000"]
              .filter((one) => Number(one) <= resource.maxLimit)
              .map((one) => (
                <option value={one}>{one === "" ? resource.defaultLimit : one}</option>
              ))}
          </select>
        </label>
        <button type="submit" class="primary">
          Search
        </button>
        <button type="button" onClick={clear}>
          Clear
        </button>
      </div>
      {problem !== "" && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {!resource.scan && (
        <p class="quiet">
          A search that no id, partition or unique key answers would read every document, and is refused here.
        </p>
      )}
    </form>
  )
}

const maxColumns = 7

/** Few fields are a table, many a wide one: nested ones come last. */
const columnsOf = ({ columns, primaryKey }: Resource): ReadonlyArray<string> => [
  primaryKey,
  ...columns.filter((path) => path !== primaryKey && !path.includes(".")),
  ...columns.filter((path) => path.includes("."))
]

const cell = (value: Json | undefined): string => {
  const text = visible(asText(value))
  return text.length > 80 ? `${[...text].slice(0, 80).join("")}…` : text
}

export const Browse = ({ name, query }: { readonly name: string; readonly query: string }) => {
  const resource = useResource(name)
  return resource === undefined ? (
    <Heading title={`No resource ${name}`} />
  ) : (
    <Documents resource={resource} query={query} />
  )
}

const Documents = ({ query, resource }: { readonly resource: Resource; readonly query: string }) => {
  const { announce, client, say } = useApp()
  const { name, operations, primaryKey } = resource
  const asked = readAsked(query)
  const all = columnsOf(resource)
  const [shown, setShown] = useState<ReadonlySet<string>>(new Set(all.slice(0, maxColumns)))
  /** Cursors of the pages that have been seen, the first of which has none. */
  const [cursors, setCursors] = useState<ReadonlyArray<string>>([""])
  /** With the revisions that were seen, where they are known. */
  const [chosen, setChosen] = useState<ReadonlyMap<string, string>>(new Map())
  const [isDeleting, setDeleting] = useState(false)
  /** What became of a deletion that did not go as it was wanted. */
  const [trouble, setTrouble] = useState<unknown>()
  const [count, setCount] = useState<string>("")
  const cursor = cursors.at(-1) ?? ""

  useEffect(() => {
    setCursors([""])
    setChosen(new Map())
    setTrouble(undefined)
    setCount("")
  }, [query])

  const [loaded, again] = useLoaded(
    async (signal) => {
      const parameters = new URLSearchParams(toQuery(asked))
      if (cursor !== "") parameters.set("cursor", cursor)
      const wanted = wantedOf(resource)
      if (wanted !== undefined) parameters.set("fields", wanted)
      const path = wanted === undefined ? client.path(name) : client.path(name, "-", "select")
      const page = objectOf(await client.get(`${path}?${parameters}`, signal))
      return { items: listOf(page["items"]).map(objectOf), next: textOf(page["cursor"]) }
    },
    [name, query, cursor]
  )

  useEffect(() => {
    if (loaded.state === "loaded") announce(`Page ${cursors.length}: ${plural(loaded.value.items.length, "document")}`)
  }, [loaded])

  const countAll = () => {
    const { filter, partition, values } = asked
    const parameters = new URLSearchParams(toQuery({ filter, partition, values, order: "", limit: "" }))
    setCount("counting…")
    client.get(`${client.path(name, "-", "count")}?${parameters}`).then(
      (found) => setCount(plural(Number(objectOf(found)["count"]), "document")),
      (error: unknown) => setCount(error instanceof Error ? error.message : String(error))
    )
  }

  /** Who deletes has seen what is deleted: what has been changed since stays. */
  const remove = async () => {
    const left = new Map(chosen)
    const kept: Array<string> = []
    let failure: Failure | undefined
    const settle = (id: string, status: number, problem: Json | undefined) => {
      left.delete(id)
      if (status === 412) kept.push(id)
      // Gone is what was wanted.
      else if (status >= 400 && status !== 404) failure ??= new Failure(status, problem)
    }
    try {
      if (operations.includes("bulkDelete")) {
        for (const body of deletionsOf(chosen, resource)) {
          const { json } = await client.send(client.path(name, "-", "bulk-delete"), { method: "POST", body })
          for (const one of listOf(at(json, "items"))) {
            const id = body.items[numberOf(at(one, "index"))]?.id ?? ""
            settle(id, numberOf(at(one, "status")), at(one, "problem"))
          }
        }
      } else {
        for (const [id, revision] of chosen) {
          const headers = { "if-match": revision === "" ? "*" : etagOf(revision) }
          await client.send(client.path(name, id), { method: "DELETE", headers }).then(
            () => settle(id, 204, undefined),
            (error: unknown) => {
              if (!(error instanceof Failure) || (error.status !== 404 && error.status !== 412)) throw error
              settle(id, error.status, undefined)
            }
          )
        }
      }
      if (kept.length > 0) {
        const which = kept.slice(0, 5).map(visible).join(", ")
        const more = kept.length > 5 ? `, and ${kept.length - 5} more` : ""
        const were = kept.length === 1 ? "has" : "have"
        const what = `${plural(kept.length, "document")} ${were} been changed since you saw the list: nothing is done to`
        setTrouble(new Error(`${what} ${which}${more}`))
      } else setTrouble(failure)
      if (left.size === 0 && kept.length === 0 && failure === undefined) {
        say(`${plural(chosen.size, "document")} deleted`)
      }
    } finally {
      setChosen(left)
      again()
    }
  }

  const idOf = (item: JsonObject): string => textOf(item[primaryKey])
  const columns = all.filter((path) => shown.has(path))
  const canDelete = operations.includes("delete")

  return (
    <>
      <Heading title={name}>
        {operations.includes("create") && (
          <a class="button" href={linkTo("resources", name, "new")}>
            New document
          </a>
        )}
      </Heading>
      <Filters
        key={query}
        resource={resource}
        asked={asked}
        onAsk={(next) => {
          const text = toQuery(next)
          if (text === query) again()
          else location.hash = `${linkTo("resources", name)}${text === "" ? "" : `?${text}`}`
        }}
      />
      <details class="columns">
        <summary>Columns</summary>
        <div class="row">
          {all.map((path) => (
            <label>
              <input
                type="checkbox"
                checked={shown.has(path)}
                onChange={({ currentTarget }) => {
                  const next = new Set(shown)
                  if (currentTarget.checked) next.add(path)
                  else next.delete(path)
                  setShown(next)
                }}
              />{" "}
              {path}
            </label>
          ))}
        </div>
      </details>
      {trouble !== undefined && <Problem error={trouble} />}
      <Show loaded={loaded}>
        {({ items, next }) => (
          <>
            {items.length === 0 ? (
              <p>No documents.</p>
            ) : (
              <Wide label={`Documents of ${name}`}>
                <table class="documents">
                  <thead>
                    <tr>
                      {canDelete && (
                        <th scope="col">
                          <span class="hidden">Chosen</span>
                        </th>
                      )}
                      {columns.map((path) => (
                        <th scope="col">{path}</th>
                      ))}
                    </tr>
                  </thead>
                  <tbody>
                    {items.map((item) => {
                      const id = idOf(item)
                      return (
                        <tr>
                          {canDelete && (
                            <td class="choose">
                              <input
                                type="checkbox"
                                aria-label={`Choose ${visible(id)}`}
                                disabled={!canBeNamed(id)}
                                checked={chosen.has(id)}
                                onChange={({ currentTarget }) => {
                                  const now = new Map(chosen)
                                  if (currentTarget.checked) now.set(id, textOf(item["$revision"]))
                                  else now.delete(id)
                                  setChosen(now)
                                }}
                              />
                            </td>
                          )}
                          {columns.map((path) =>
                            path === primaryKey ? (
                              <th scope="row">
                                <a href={linkTo("resources", name, "id", id)}>{cell(id)}</a>
                              </th>
                            ) : (
                              <td>{cell(atPath(item, path.split(".")))}</td>
                            )
                          )}
                        </tr>
                      )
                    })}
                  </tbody>
                </table>
              </Wide>
            )}
            <div class="row pages">
              <button type="button" disabled={cursors.length === 1} onClick={() => setCursors(cursors.slice(0, -1))}>
                Previous page
              </button>
              <span>Page {cursors.length}</span>
              <button type="button" disabled={next === ""} onClick={() => setCursors([...cursors, next])}>
                Next page
              </button>
              {operations.includes("count") && (
                <button type="button" onClick={countAll}>
                  Count all
                </button>
              )}
              {count !== "" && <span role="status">{count}</span>}
              {chosen.size > 0 && (
                <button type="button" class="danger" onClick={() => setDeleting(true)}>
                  Delete {chosen.size} chosen
                </button>
              )}
            </div>
          </>
        )}
      </Show>
      {loaded.state === "failed" && cursors.length > 1 && (
        <button type="button" onClick={() => setCursors([""])}>
          Begin again
        </button>
      )}
      {isDeleting && (
        <Confirm title="Delete documents?" label="Delete" doIt={remove} onClose={() => setDeleting(false)}>
          <p>
            {plural(chosen.size, "document")} of {name} will be deleted, if nobody has changed them since:
          </p>
          <ul class="ids">
            {[...chosen.keys()].slice(0, 20).map((id) => (
              <li>
                <code>{visible(id)}</code>
              </li>
            ))}
          </ul>
        </Confirm>
      )}
    </>
  )
}
