/**
 * A resource that two versions of a program write at once: the definitions, what each does at random, the model of what both
 * make of a document, and what has to hold of the indexes.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as DbError from "effect-s3db/DbError"
import type { Rejected } from "effect-s3db/Pipeline"
import * as Resource from "effect-s3db/Resource"
import * as Linearizability from "effect-s3db/testing/Linearizability"
import { chance, pick } from "./draw.ts"
import type { Client, Op, Workload } from "./workload.ts"

/** What two versions of a program know alike of the same documents. */
const shared = {
  id: Schema.String,
  value: Schema.String,
  home: Schema.optionalKey(Schema.Struct({ city: Schema.String }))
}
const Tag = Schema.Struct({ x: Schema.Int })

export const older = Resource.define("people", {
  schema: Schema.Struct({ ...shared, tags: Schema.Array(Tag), nick: Schema.optionalKey(Schema.String) }),
  primaryKey: "id",
  partitions: { byNick: ["nick"] }
})

export const newer = Resource.define("people", {
  schema: Schema.Struct({
    ...shared,
    home: Schema.optionalKey(Schema.Struct({ city: Schema.String, zip: Schema.optionalKey(Schema.String) })),
    tags: Schema.Array(Schema.Struct({ x: Schema.Int, y: Schema.optionalKey(Schema.String) })),
    team: Schema.optionalKey(Schema.String),
    badge: Schema.optionalKey(Schema.String)
  }),
  primaryKey: "id",
  partitions: { byTeam: { fields: ["team"], covering: ["value"] }, byZip: ["home.zip"] },
  unique: { badge: ["badge"] }
})

/** What the newer version has besides, once somebody builds it. */
export const newest = Resource.define("people", {
  schema: newer.schema,
  primaryKey: "id",
  partitions: {
    byTeam: { fields: ["team"], covering: ["value"] },
    byZip: ["home.zip"],
    byBadge: ["badge"],
    byValue: ["value", "team"]
  },
  unique: { badge: ["badge"] }
})

/** The partitions that are built while others are at work. */
export const builtLater = ["byBadge", "byValue"] as const

export type Version = "older" | "newer"

export type People =
  | { readonly version: "older"; readonly repository: Resource.RepositoryOf<typeof older> }
  | { readonly version: "newer"; readonly repository: Resource.RepositoryOf<typeof newer> }

export const peopleIds = ["v0", "v1", "v2"]
const teams = ["t0", "t1"]
const badges = ["n0", "n1"]
const nicks = ["k0", "k1"]

// -----------------------------------------------------------------------------
// What two versions know
// -----------------------------------------------------------------------------

/** What the newer version says of a document: what both know, and what it knows alone. */
const toldByNewer = ({ badge, tags, team, value }: typeof newer.schema.Type): string => {
  const alone = [team, badge, ...tags.map(({ y }) => y)].filter((one) => one !== undefined)
  return `newer:${value}|${alone.join()}`
}

const toldByOlder = ({ nick = "", value }: typeof older.schema.Type): string => `older:${value}|${nick}`

type Told = { readonly by: string; readonly value: string; readonly alone: string }

const parseTold = (text: string): Told | undefined => {
  const match = /^(older|newer):(.*)\|(.*)$/.exec(text)
  return match === null ? undefined : { by: match[1]!, value: match[2]!, alone: match[3]! }
}

/** All of a document: what both know, what the older version knows alone, what the newer one does. */
const whole = ({ alone, by, value }: Told, others: string): string =>
  JSON.stringify(by === "older" ? [value, alone, others] : [value, others, alone])

/** What of a state the version that has told something does not know. */
const unknownIn = (state: string | undefined, { by }: Told): string =>
  state === undefined ? "" : (JSON.parse(state) as ReadonlyArray<string>)[by === "older" ? 2 : 1]!

/**
 * The model of one document that two versions of a program write: a change leaves what its program does not know as it is;
 * an insert and a replacement have nothing of it.
 */
export const model: typeof Linearizability.documentModel = {
  ...Linearizability.documentModel,
  step: (state, op, result) => {
    const made = (text: string): string => {
      const told = parseTold(text)
      return told === undefined ? text : whole(told, "")
    }
    /** What was seen, if it was that, with what was not seen. */
    const seen = (text: string): string => {
      const told = parseTold(text)
      return told === undefined ? text : whole(told, unknownIn(state.value, told))
    }
    const lifted = (): Op => {
      switch (op._tag) {
        case "Insert":
        case "Replace":
          return { ...op, value: made(op.value) }
        case "Update":
          return { ...op, expected: seen(op.expected), value: seen(op.value) }
        default:
          return op
      }
    }
    const found =
      result?._tag === "Value" && result.value !== undefined ? { ...result, value: seen(result.value) } : result
    return Linearizability.documentModel.step(state, lifted(), found)
  }
}

/** What a program of a version finds at an id, as it tells it. */
export const tellOf = (people: People, id: string): Effect.Effect<string | undefined, DbError.DbError | Rejected> =>
  people.version === "newer"
    ? Effect.map(people.repository.getOption(id), (found) => Option.getOrUndefined(Option.map(found, toldByNewer)))
    : Effect.map(people.repository.getOption(id), (found) => Option.getOrUndefined(Option.map(found, toldByOlder)))

/** One random operation of one client, as its version does it. */
export const versionedStepOf = ({ announce, newValue, recorded, violation }: Workload) => {
  const stepAsOlder = Effect.fnUntraced(function* (
    client: Client,
    people: Extract<People, { readonly version: "older" }>["repository"]
  ) {
    const id = yield* pick(peopleIds)
    const kind = yield* Random.nextIntBetween(0, 9)
    const value = newValue(client)
    const nick = (yield* chance(0.5)) ? { nick: yield* pick(nicks) } : {}
    const home = (yield* chance(0.3)) ? { home: { city: value } } : {}
    if (kind < 2) {
      const made = { id, value, tags: [{ x: 1 }], ...nick, ...home }
      const told = toldByOlder(made)
      if (kind === 0) yield* recorded(client, id, () => ({ _tag: "Insert", value: told }), people.insert(made))
      else yield* recorded(client, id, () => ({ _tag: "Replace", value: told }), people.replace(made))
    } else if (kind < 8) {
      const change = yield* Random.nextIntBetween(0, 3)
      let op: Op = { _tag: "Read" }
      const update = people.update(id, (now) => {
        const tags =
          change === 0
            ? [...now.tags.slice(0, 5), { x: 9 }]
            : now.tags.map((tag, i) => (change === 1 && i === 0 ? { x: tag.x + 10 } : tag))
        const others = change === 2 ? { home: undefined } : home
        const next = { ...now, value, ...nick }
        op = { _tag: "Update", expected: toldByOlder(now), value: toldByOlder(next) }
        announce(id, op)
        return { value, tags, ...nick, ...others }
      })
      yield* recorded(client, id, () => op, update)
    } else {
      const nick = yield* pick(nicks)
      const found = yield* Effect.option(Stream.runCollect(people.scan({ partition: "byNick", values: { nick } })))
      if (Option.isSome(found) && found.value.some((one) => one.nick !== nick)) {
        violation(`${client.name}: a document of another nick in the partition of ${nick}`)
      }
    }
  })

  const stepAsNewer = Effect.fnUntraced(function* (
    client: Client,
    people: Extract<People, { readonly version: "newer" }>["repository"]
  ) {
    const id = yield* pick(peopleIds)
    const kind = yield* Random.nextIntBetween(0, 9)
    const value = newValue(client)
    const team = (yield* chance(0.6)) ? { team: yield* pick(teams) } : {}
    const badge = (yield* chance(0.5)) ? { badge: yield* pick(badges) } : {}
    const home = (yield* chance(0.5)) ? { home: { city: value, zip: yield* pick(["z0", "z1"]) } } : {}
    const tags = [{ x: 1, y: value }, { x: 2 }, { x: 3, y: `${value}'` }]
    const written = { value, tags, ...team, ...badge, ...home }
    if (kind < 3) {
      const made = { id, ...written }
      const told = toldByNewer(made)
      if (kind === 0) yield* recorded(client, id, () => ({ _tag: "Replace", value: told }), people.replace(made))
      else yield* recorded(client, id, () => ({ _tag: "Insert", value: told }), people.insert(made))
    } else if (kind < 6) {
      let op: Op = { _tag: "Read" }
      const update = people.update(id, (now) => {
        op = { _tag: "Update", expected: toldByNewer(now), value: toldByNewer({ ...now, ...written }) }
        announce(id, op)
        return written
      })
      yield* recorded(client, id, () => op, update)
    } else if (kind < 9) {
      yield* recorded(
        client,
        id,
        () => ({ _tag: "Read" }),
        people.getOption(id).pipe(Effect.tapError((error) => Effect.sync(() => tellDamage(client, error)))),
        (found) => ({ _tag: "Value", value: Option.isNone(found) ? undefined : toldByNewer(found.value) })
      )
    } else yield* recorded(client, id, () => ({ _tag: "Remove" }), people.delete(id))
  })

  /** No version writes what another cannot read. */
  const tellDamage = (client: Client, error: DbError.DbError | Rejected) => {
    if (error._tag === "DbError" && error.reason._tag === "Corrupt") violation(`${client.name}: ${error.message}`)
  }

  return (client: Client) =>
    client.people.version === "older"
      ? stepAsOlder(client, client.people.repository)
      : stepAsNewer(client, client.people.repository)
}

/** Whether the indexes of two versions fit the values that both have written. */
export const lookAtVersions = Effect.fnUntraced(function* (
  { newer, older }: { readonly newer: Client["people"]; readonly older: Client["people"] },
  violation: (text: string) => void
) {
  if (newer.version !== "newer" || older.version !== "older") return
  const people = yield* Stream.runCollect(newer.repository.scan())
  const elders = yield* Stream.runCollect(older.repository.scan())
  const compare = (
    what: string,
    found: ReadonlyArray<{ readonly id: string }>,
    all: ReadonlyArray<{ readonly id: string }>
  ) => {
    const [told, real] = [found, all].map((some) =>
      some
        .map(({ id }) => id)
        .toSorted()
        .join()
    )
    if (told !== real) violation(`partition ${what} has ${told} instead of ${real}`)
  }
  for (const team of teams) {
    const within = { partition: "byTeam", values: { team } } as const
    const all = people.filter((one) => one.team === team)
    compare(team, yield* Stream.runCollect(newer.repository.scan(within)), all)
    const covered = yield* Stream.runCollect(newer.repository.covered({ ...within, verify: true }))
    const told = covered.map((one) => `${one.id} ${String(one.fields["value"])}`).toSorted()
    const real = all.map((one) => `${one.id} ${one.value}`).toSorted()
    if (told.join() !== real.join()) violation(`covered ${told.join()} instead of ${real.join()}`)
  }
  for (const zip of ["z0", "z1"]) {
    const found = yield* Stream.runCollect(newer.repository.scan({ partition: "byZip", values: { "home.zip": zip } }))
    compare(
      zip,
      found,
      people.filter((one) => one.home?.zip === zip)
    )
  }
  for (const nick of nicks) {
    const found = yield* Stream.runCollect(older.repository.scan({ partition: "byNick", values: { nick } }))
    compare(
      nick,
      found,
      elders.filter((one) => one.nick === nick)
    )
  }
  for (const { badge, id } of people) {
    if (badge === undefined) continue
    const other = people.find((one) => one.badge === badge && one.id !== id)
    if (other !== undefined) violation(`${id} and ${other.id} both have ${badge}`)
    const holder = yield* Effect.option(newer.repository.getByUnique("badge", { badge }))
    if (Option.isNone(holder) || holder.value.id !== id) violation(`${badge} does not lead to ${id}`)
  }
})
