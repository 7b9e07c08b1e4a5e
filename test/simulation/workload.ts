/** What clients of a simulation do at random, and what has to hold of it: on any store, in any process. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Companion from "effect-s3db/Companion"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Linearizability from "effect-s3db/testing/Linearizability"
import { chainOf } from "../journalChains.ts"
import { everything } from "../fixture.ts"
import { chance, pick } from "./draw.ts"
import {
  lookAtVersions,
  model,
  newer,
  older,
  type People,
  peopleIds,
  tellOf,
  type Version,
  versionedStepOf
} from "./versions.ts"

export const secretMark = "hunter2-"

/** Makes a document too large for metadata: it is compressed by some clients, and not by others. */
const long = Schema.String.pipe(
  Schema.withConstructorDefault(Effect.succeed(Array.from({ length: 300 }, (_, i) => `word${i % 17}`).join(" ")))
)

const Item = Schema.Struct({
  long,
  id: Schema.String,
  value: Schema.String,
  group: Schema.String,
  email: Schema.optionalKey(Schema.String),
  secret: Attribute.SecretText,
  note: Schema.optionalKey(Schema.String)
})

const Account = Schema.Struct({ id: Schema.String, balance: Schema.Int })

export const items = Resource.define("items", {
  schema: Item,
  primaryKey: "id",
  partitions: { byGroup: ["group"], cover: { fields: ["group"], covering: ["value"] } },
  unique: { email: { fields: ["email"], ignoreCase: true } },
  counters: { shards: 2 }
})

const accounts = Resource.define("accounts", { schema: Account, primaryKey: "id", journal: true })
const plain = Resource.define("plain", {
  schema: Schema.Struct({ id: Schema.String, value: Schema.String, long }),
  primaryKey: "id"
})

const kept = Resource.define("kept", {
  schema: Schema.Struct({ id: Schema.String, value: Schema.String, long }),
  primaryKey: "id",
  history: true,
  counters: { shards: 2 },
  journal: { images: "both" },
  // One key moves with every change, the other one stays.
  companions: {
    marks: Companion.make({ fields: ["value"], keys: ({ json }) => [["is", String(json["value"])], ["all"]] })
  }
})

export const itemIds = ["d0", "d1", "d2", "d3"]
export const plainIds = ["p0", "p1"]
export const keptIds = ["k0", "k1", "k2"]
export const accountIds = ["b0", "b1", "b2", "b3"]
export const groups = ["g0", "g1", "a/b"]
export const emails = ["e0@x", "e1@x", "e2@x"]
export const total = accountIds.length * 100

export const ring = KeyRing.layerKeys({ current: "k", keys: { k: Redacted.make(new Uint8Array(32).fill(7)) } })

export interface Client {
  readonly name: string
  readonly items: Resource.RepositoryOf<typeof items>
  readonly accounts: Resource.RepositoryOf<typeof accounts>
  readonly plain: Resource.RepositoryOf<typeof plain>
  readonly kept: Resource.RepositoryOf<typeof kept>
  readonly people: People
  readonly transaction: Database.Database["Service"]["transaction"]
  readonly database: Database.Database["Service"]
}

/** Every other client compresses what it writes. */
const compresses = (name: string): boolean =>
  [...name].reduce((sum, character) => sum + character.charCodeAt(0), 0) % 2 === 0

export const clientOn = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  name: string,
  version: Version = "newer",
  options: Database.Options = {}
) {
  const database = yield* Effect.provideService(
    Database.make({ compression: compresses(name), ...options }),
    ObjectStore,
    store
  )
  const open = <A, E, R>(effect: Effect.Effect<A, E, R | Database.Database>) =>
    Effect.provideService(effect, Database.Database, database)
  const client: Client = {
    name,
    items: yield* open(Resource.make(items)),
    accounts: yield* open(Resource.make(accounts)),
    plain: yield* open(Resource.make(plain)),
    kept: yield* open(Resource.make(kept)),
    people:
      version === "older"
        ? { version, repository: yield* open(Resource.make(older)) }
        : { version, repository: yield* open(Resource.make(newer)) },
    transaction: database.transaction,
    database
  }
  return client
})

export type Op = Linearizability.DocumentOp
export type Result = Linearizability.DocumentResult
export type Event = Linearizability.Event<Op, Result>

export const ok: Result = { _tag: "Ok" }

/** Whether an error leaves open whether the write was done. */
export const isUnknown = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "outcome" in error && error.outcome === "unknown"

/** How an operation that failed ended. What fails for certain did nothing. */
export const outcomeOf = (error: unknown, op: Op): Linearizability.Outcome<Result> => {
  const tag = typeof error === "object" && error !== null && "_tag" in error ? error._tag : undefined
  const mustBeThere = op._tag === "Update" || (op._tag === "Remove" && op.mustExist === true)
  // Whoever has given up waiting does not know.
  if (tag === "TimeoutError") return { _tag: "Unknown" }
  if (tag === "AlreadyExists" || (tag === "NotFound" && mustBeThere)) {
    return { _tag: "Return", result: { _tag: tag } }
  }
  return isUnknown(error) ? { _tag: "Unknown" } : { _tag: "Fail" }
}

/** Registers both versions, the older one first, with all their indexes complete, while nobody else is there. */
export const setUpVersions = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  yield* clientOn(store, "setup", "older", { catalogLease: 0 })
  const { people } = yield* clientOn(store, "setup", "newer", { catalogLease: 0 })
  yield* Stream.runDrain((yield* people.repository.admin).backfill())
})

export interface Workload {
  /** Records an operation on a document; `op` is asked for when it is over. */
  readonly recorded: <A, E>(
    client: Client,
    id: string,
    op: () => Op,
    effect: Effect.Effect<A, E>,
    onSuccess?: (value: A) => Result
  ) => Effect.Effect<A, E>
  /** An update has read what it is going to replace: tells before it writes. */
  readonly announce: (id: string, op: Op) => void
  readonly violation: (text: string) => void
  readonly newValue: (client: Client) => string
}

/** Typed errors are part of it; a crash ends the client. */
const rethrowDefects = <A, E>(exit: Exit.Exit<A, E>) =>
  Exit.isFailure(exit) && Cause.hasDies(exit.cause)
    ? Effect.failCause(exit.cause as Cause.Cause<never>)
    : Effect.succeed(exit)

/** One random operation of one client. */
export const stepOf = (workload: Workload) => {
  const { announce, newValue, recorded, violation } = workload
  const versionedStep = versionedStepOf(workload)
  /** Of each value where it was written, or was to be: the document, and its group. */
  const places = new Map<string, string>()
  const placed = (value: string, id: string, group: string): void => void places.set(value, `${id} in ${group}`)

  const newItem = Effect.fnUntraced(function* (client: Client, id: string) {
    const value = newValue(client)
    const email = (yield* chance(0.6)) ? { email: yield* pick(emails) } : {}
    const note = (yield* chance(0.2)) ? { note: "n".repeat(3000) } : {}
    const group = yield* pick(groups)
    placed(value, id, group)
    return { id, value, group, secret: Redacted.make(secretMark + value), ...email, ...note }
  })

  const updateKept = Effect.fnUntraced(function* (
    client: Client,
    id: string,
    wrap: (update: Effect.Effect<unknown, unknown>) => Effect.Effect<unknown, unknown> = (update) => update
  ) {
    const value = newValue(client)
    let expected = ""
    const update = client.kept.update(id, (now) => {
      expected = now.value
      announce(id, { _tag: "Update", expected, value })
      return { value }
    })
    yield* recorded(client, id, () => ({ _tag: "Update", expected, value }), wrap(update))
  })

  /** A version that is there before and after is found by its keys in between. */
  const lookAtMarks = Effect.fnUntraced(function* ({ kept, name }: Client) {
    const id = yield* pick(keptIds)
    const before = yield* kept.getDocument(id)
    const marks = yield* Stream.runCollect(kept.companion("marks"))
    const after = yield* kept.getDocument(id)
    if (before.revision !== after.revision) return
    const found = marks.filter((hit) => hit.id === id).map(({ key }) => key.join())
    const wanted = ["all", `is,${before.value.value}`]
    if (found.join() !== wanted.join())
      violation(`${name}: ${id} has the keys ${found.join()} instead of ${wanted.join()}`)
  })

  /**
   * What the keys of a covering partition may say (`docs/design/partitions.md`): a version that is there before and after is among them, as it
   * was written; and whatever is shown, somebody wrote, or was about to write, to that document and that group.
   */
  const lookAtKeys = Effect.fnUntraced(function* ({ items, name }: Client, id: string, group: string) {
    const request = { where: { group }, select: ["id", "group", "value"], allowStale: true } as const
    const before = yield* Effect.option(items.getDocument(id))
    const shown = yield* Stream.runCollect(items.queryJson(request))
    const after = yield* Effect.option(items.getDocument(id))
    for (const { group: inGroup, id, value } of shown) {
      const place = places.get(String(value))
      if (inGroup !== group || (place !== undefined && place !== `${id} in ${group}`)) {
        violation(`${name}: keys show ${value} of ${id} in ${inGroup}, which was written to ${place}`)
      }
    }
    if (Option.isNone(before) || Option.isNone(after) || before.value.revision !== after.value.revision) return
    const { value } = before.value
    if (value.group === group && !shown.some((one) => one.id === id && one.value === value.value)) {
      violation(`${name}: keys of ${group} do not show ${value.value} of ${id}, which was there all the time`)
    }
  })

  /** What keeps its history, and is counted: deletions above all. */
  const stepOfKept = Effect.fnUntraced(function* (client: Client, kind: number) {
    const id = yield* pick(keptIds)
    if (kind < 106) {
      const value = newValue(client)
      yield* recorded(client, id, () => ({ _tag: "Insert", value }), client.kept.insert({ id, value }))
    } else if (kind < 111) yield* updateKept(client, id)
    else if (kind < 116) {
      const remove = client.kept.delete(id, { mustExist: true })
      yield* recorded(client, id, () => ({ _tag: "Remove", mustExist: true }), remove)
    } else if (kind < 119)
      yield* recorded(
        client,
        id,
        () => ({ _tag: "Remove" }),
        Effect.flatMap(client.kept.deleteMany([id]), ({ failed: [left] }) =>
          left === undefined ? Effect.void : Effect.fail(left.error)
        )
      )
    else if (kind < 123) {
      const other = yield* pick(keptIds.filter((one) => one !== id))
      yield* updateKept(client, other, (update) =>
        recorded(
          client,
          id,
          () => ({ _tag: "Remove" }),
          client.transaction(Effect.andThen(update, client.kept.delete(id)), { retries: 6 })
        )
      )
    } else if (kind < 128) {
      // Whoever gives up leaves nothing, or all of it.
      const millis = yield* Random.nextIntBetween(1, 900)
      const impatient = <A, E>(effect: Effect.Effect<A, E>) => Effect.timeout(effect, millis)
      if (kind < 125) {
        const value = newValue(client)
        yield* recorded(client, id, () => ({ _tag: "Insert", value }), impatient(client.kept.insert({ id, value })))
      } else if (kind < 127) yield* updateKept(client, id, impatient)
      else yield* recorded(client, id, () => ({ _tag: "Remove" }), impatient(client.kept.delete(id)))
    } else {
      // No age is too young for what the records of transactions are.
      const sweep = Stream.runDrain(client.database.repairTransactions({ dryRun: false, graceMillis: 0 }))
      yield* Effect.flatMap(Effect.exit(sweep), rethrowDefects)
    }
  })

  const step = Effect.fnUntraced(function* (client: Client) {
    const id = yield* pick(itemIds)
    const kind = yield* Random.nextIntBetween(0, 156)
    if (kind >= 149) return yield* lookAtMarks(client)
    if (kind >= 130) return yield* versionedStep(client)
    if (kind >= 100) return yield* stepOfKept(client, kind)
    if (kind < 14) {
      const item = yield* newItem(client, id)
      yield* recorded(client, id, () => ({ _tag: "Insert", value: item.value }), client.items.insert(item))
    } else if (kind < 36) {
      const value = newValue(client)
      const group = yield* pick(groups)
      placed(value, id, group)
      const email = (yield* chance(0.4)) ? { email: yield* pick([...emails, undefined]) } : {}
      let expected = ""
      const update = client.items.update(id, (now) => {
        expected = now.value
        announce(id, { _tag: "Update", expected, value })
        return { value, group, ...email }
      })
      yield* recorded(client, id, () => ({ _tag: "Update", expected, value }), update)
    } else if (kind < 42) {
      const held = yield* client.items.getDocument(id)
      const value = newValue(client)
      const expected = held.value.value
      const group = yield* pick(groups)
      placed(value, id, group)
      const update = client.items.update(held, { value, group })
      yield* recorded(client, id, () => ({ _tag: "Update", expected, value }), update)
    } else if (kind < 48) {
      const item = yield* newItem(client, id)
      yield* recorded(client, id, () => ({ _tag: "Replace", value: item.value }), client.items.replace(item))
    } else if (kind < 56) {
      const mustExist = yield* chance(0.5)
      yield* recorded(client, id, () => ({ _tag: "Remove", mustExist }), client.items.delete(id, { mustExist }))
    } else if (kind < 68) {
      const found = yield* recorded(
        client,
        id,
        () => ({ _tag: "Read" }),
        client.items.getOption(id),
        (found) => ({
          _tag: "Value",
          value: Option.isNone(found) ? undefined : found.value.value
        })
      )
      if (Option.isSome(found)) yield* lookAtKeys(client, id, found.value.group)
    } else if (kind < 74) {
      // What a partition gives is what it says it is.
      const group = yield* pick(groups)
      const found = yield* Effect.option(
        Stream.runCollect(client.items.scan({ partition: "byGroup", values: { group } }))
      )
      if (Option.isSome(found) && found.value.some((one) => one.group !== group)) {
        violation(`${client.name}: a document of another group in the partition of ${group}`)
      }
      yield* lookAtKeys(client, id, group)
    } else if (kind < 78) {
      const email = yield* pick(emails)
      const found = yield* Effect.option(client.items.getByUnique("email", { email }))
      if (Option.isSome(found) && found.value.email !== email) {
        violation(`${client.name}: getByUnique(${email}) gave a document with ${found.value.email}`)
      }
    } else if (kind < 86) {
      const id = yield* pick(plainIds)
      const value = newValue(client)
      const blind = yield* Random.nextIntBetween(0, 3)
      if (blind === 0) {
        yield* recorded(client, id, () => ({ _tag: "Replace", value }), client.plain.replace({ id, value }))
      } else if (blind === 1) {
        yield* recorded(client, id, () => ({ _tag: "Remove" }), client.plain.delete(id))
      } else {
        let expected = ""
        const update = client.plain.update(id, (now) => {
          expected = now.value
          announce(id, { _tag: "Update", expected, value })
          return { value }
        })
        yield* recorded(client, id, () => ({ _tag: "Update", expected, value }), update)
      }
    } else if (kind < 95) {
      const from = yield* pick(accountIds)
      const to = yield* pick(accountIds.filter((one) => one !== from))
      const amount = yield* Random.nextIntBetween(1, 20)
      yield* Effect.exit(
        client.transaction(
          Effect.gen(function* () {
            const a = yield* client.accounts.get(from)
            const b = yield* client.accounts.get(to)
            yield* client.accounts.update(from, { balance: a.balance - amount })
            yield* client.accounts.update(to, { balance: b.balance + amount })
          }),
          { retries: 6 }
        )
      ).pipe(Effect.flatMap(rethrowDefects))
    } else {
      const sum = yield* Effect.exit(
        client.transaction(
          Effect.map(
            Effect.forEach(accountIds, (one) => client.accounts.get(one)),
            (all) => all.reduce((sum, one) => sum + one.balance, 0)
          ),
          { retries: 6 }
        )
      ).pipe(Effect.flatMap(rethrowDefects))
      if (Exit.isSuccess(sum) && sum.value !== total) {
        violation(`${client.name}: a transaction saw ${sum.value} in the bank instead of ${total}`)
      }
    }
  })

  return step
}

/** What is wrong with the versions that a document had, the newest first. */
const historyProblems = (events: ReadonlyArray<Event>, seen: ReadonlyArray<string>): ReadonlyArray<string> => {
  const problems: Array<string> = []
  if (new Set(seen).size < seen.length) problems.push(`a version is told twice: ${seen.join()}`)
  const place = new Map(seen.map((value, i) => [value, i]))
  const ops = new Map(events.flatMap((event) => (event._tag === "Invoke" ? [[event.id, event.op] as const] : [])))
  for (const event of events) {
    const op = ops.get(event.id)
    if (event._tag === "Invoke" || event._tag === "Unknown" || op === undefined || !("value" in op)) continue
    const isDone = event._tag === "Return" && (event.result._tag === "Ok" || event.result._tag === "Value")
    const at = place.get(op.value)
    if (isDone && at === undefined) problems.push(`${op.value} was written and is in no version: ${seen.join()}`)
    if (!isDone && at !== undefined) problems.push(`${op.value} was not written and is a version: ${seen.join()}`)
    if (!isDone || op._tag !== "Update") continue
    const before = place.get(op.expected)
    if (before === undefined || before < at!)
      problems.push(`${op.value} does not come after ${op.expected}: ${seen.join()}`)
  }
  return problems
}

/** What an observer of the newer version finds. */
const lastOf = ({ items, kept, people, plain }: Client, id: string): Effect.Effect<string | undefined, unknown> => {
  const valueOf = (found: Option.Option<{ readonly value: string }>) => Option.getOrUndefined(found)?.value
  if (peopleIds.includes(id)) return tellOf(people, id)
  if (keptIds.includes(id)) return Effect.map(kept.getOption(id), valueOf)
  return plainIds.includes(id) ? Effect.map(plain.getOption(id), valueOf) : Effect.map(items.getOption(id), valueOf)
}

/** What has to hold when everything has come to rest, before a repair and after it. */
export const verify = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  {
    histories,
    settle,
    slack,
    violations,
    wait
  }: {
    /** By how many a number may be off, since writes were done that could not be counted. Default: it is not looked at. */
    readonly slack?: number | undefined
    /** By document; a last read is added. */
    readonly histories: ReadonlyMap<string, ReadonlyArray<Event>>
    readonly violations: Array<string>
    /** Runs what may have to wait for time to pass. */
    readonly settle: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
    /** Lets leftovers grow old, so that they can be repaired. Without it nothing is. */
    readonly wait?: Effect.Effect<void> | undefined
  }
) {
  const observer = yield* clientOn(store, "observer")
  const others = yield* clientOn(store, "observer", "older")
  for (const [id, past] of histories) {
    const value = yield* settle(lastOf(observer, id)).pipe(
      Effect.catch((error) => Effect.sync(() => void violations.push(`${id} cannot be read: ${String(error)}`)))
    )
    const history: ReadonlyArray<Event> = [
      ...past,
      { _tag: "Invoke", id: -1, process: "observer", op: { _tag: "Read" } },
      { _tag: "Return", id: -1, result: { _tag: "Value", value } }
    ]
    const verdict = Linearizability.check({ model, history })
    if (!verdict.ok) violations.push(`${id} is not linearizable: ${Linearizability.describe(verdict)}`)
  }

  for (const id of keptIds) {
    const past = yield* settle(Stream.runCollect(observer.kept.history(id)))
    const now = Option.toArray(yield* settle(observer.kept.getOption(id)))
    const seen = [...now.map((one) => one.value), ...past.map((one) => one.value.value)]
    violations.push(...historyProblems(histories.get(id) ?? [], seen).map((problem) => `${id}: ${problem}`))
  }
  if (slack !== undefined) {
    for (const repository of [observer.kept, observer.items]) {
      const real = yield* repository.count()
      const counted = yield* repository.estimatedCount()
      if (Math.abs(real - counted) > slack) {
        violations.push(`${counted} are counted, of ${real}, and ${slack} may be missed`)
      }
    }
  }

  const look = (label: string) =>
    settle(
      Effect.gen(function* () {
        for (const [resource, ids] of [
          ["kept", keptIds],
          ["accounts", accountIds]
        ] as const) {
          for (const id of ids) {
            const { problems } = yield* chainOf(observer.database, resource, id)
            violations.push(...problems.map((problem) => `${label}: the journal of ${id}: ${problem}`))
          }
        }
        const all = yield* Stream.runCollect(observer.items.scan())
        for (const group of groups) {
          const expected = all
            .filter((one) => one.group === group)
            .map((one) => one.id)
            .toSorted()
          const within = { partition: "byGroup", values: { group } } as const
          const found = (yield* Stream.runCollect(observer.items.scan(within))).map((one) => one.id).toSorted()
          if (found.join() !== expected.join()) {
            violations.push(`${label}: partition ${group} has ${found.join()} instead of ${expected.join()}`)
          }
          const covered = yield* Stream.runCollect(
            observer.items.covered({ ...within, partition: "cover", verify: true })
          )
          const told = covered.map((one) => `${one.id} ${String(one.fields["value"])}`).toSorted()
          const real = all
            .filter((one) => one.group === group)
            .map((one) => `${one.id} ${one.value}`)
            .toSorted()
          if (told.join() !== real.join()) violations.push(`${label}: covered ${told.join()} instead of ${real.join()}`)
        }
        const present = yield* Stream.runCollect(observer.kept.scan())
        const marks = yield* Stream.runCollect(observer.kept.companion("marks"))
        const named = marks.map(({ id, key }) => `${key.join()} ${id}`).toSorted()
        const wanted = present.flatMap(({ id, value }) => [`is,${value} ${id}`, `all ${id}`]).toSorted()
        if (named.join() !== wanted.join()) {
          violations.push(`${label}: the companion has ${named.join()} instead of ${wanted.join()}`)
        }
        const owners = new Map<string, string>()
        for (const one of all) {
          if (one.email === undefined) continue
          const other = owners.get(one.email)
          if (other !== undefined) violations.push(`${label}: ${one.id} and ${other} both have ${one.email}`)
          owners.set(one.email, one.id)
          const holder = yield* Effect.option(observer.items.getByUnique("email", { email: one.email }))
          if (Option.isNone(holder) || holder.value.id !== one.id) {
            violations.push(
              `${label}: ${one.email} leads to ${Option.isNone(holder) ? "nothing" : holder.value.id} instead of ${one.id}`
            )
          }
          if (Redacted.value(one.secret) === "") violations.push(`${label}: the secret of ${one.id} is gone`)
        }
        const violation = (text: string) => void violations.push(`${label}: ${text}`)
        yield* lookAtVersions({ newer: observer.people, older: others.people }, violation).pipe(
          Effect.catch((error) => Effect.sync(() => violation(error.message)))
        )
        const balances = yield* Stream.runFold(
          observer.accounts.scan(),
          () => 0,
          (sum, one) => sum + one.balance
        )
        if (balances !== total) violations.push(`${label}: the bank has ${balances} instead of ${total}`)
        return all.map((one) => `${one.id} ${one.value}`).join()
      })
    )

  const before = yield* look("at rest")
  if (wait !== undefined) {
    yield* wait
    yield* settle(Stream.runDrain(observer.database.repairTransactions({ dryRun: false })))
    yield* settle(Stream.runDrain((yield* observer.items.admin).repair({ dryRun: false })))
    yield* settle(Stream.runDrain((yield* observer.accounts.admin).repair({ dryRun: false })))
    yield* settle(Stream.runDrain((yield* observer.kept.admin).repair({ dryRun: false })))
    // Whichever version does it.
    yield* settle(Stream.runDrain((yield* others.people.repository.admin).repair({ dryRun: false })))
    const after = yield* look("after the repair")
    if (before !== after) violations.push(`the repair made ${after} of ${before}`)
    const left = yield* settle(Stream.runCollect((yield* observer.items.admin).repair()))
    const keptLeft = yield* settle(Stream.runCollect((yield* observer.kept.admin).repair()))
    const unmended = yield* settle(Stream.runCollect((yield* observer.people.repository.admin).repair()))
    const all = [...left, ...keptLeft, ...unmended]
    if (all.length > 0) violations.push(`the repair left ${all.map((one) => `${one.kind} ${one.key}`).join()}`)
  }

  let token: string | undefined
  const counts = { markers: 0, companions: 0, reservations: 0, documents: 0 }
  do {
    const page = yield* store.list({ token })
    for (const { key } of page.entries) {
      const object = yield* store.get(key)
      const text = key + everything(object)
      if (text.includes(secretMark)) violations.push(`a secret is in clear in ${key}`)
      if (key.startsWith("resource=items/partition=")) counts.markers += 1
      if (key.startsWith("resource=kept/companion=")) counts.companions += 1
      if (key.startsWith("resource=items/unique=")) counts.reservations += 1
      if (key.startsWith("resource=items/data/")) counts.documents += 1
    }
    token = page.nextToken
  } while (token !== undefined)
  if (wait !== undefined && counts.markers !== counts.documents * 2) {
    violations.push(`${counts.markers} markers of ${counts.documents} documents are left`)
  }
  const present = yield* settle(observer.kept.count())
  if (wait !== undefined && counts.companions !== present * 2) {
    violations.push(`${counts.companions} keys of a companion of ${present} documents are left`)
  }
})
