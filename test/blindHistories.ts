/**
 * Random histories of programs that keep a blind unique key on a store that fails in every way, with rings that differ, while
 * the key moves from one key of the ring to another and back.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as Pauses from "effect-s3db/testing/Pauses"
import { keysOf } from "./fixture.ts"
import { chance, pick } from "./simulation/draw.ts"

const shared = { id: Schema.String, note: Schema.String }

/** A program of before there were tokens. */
const older = Resource.define("tokens", { schema: Schema.Struct(shared), primaryKey: "id" })
const newer = Resource.define("tokens", {
  schema: Schema.Struct({ ...shared, token: Schema.optionalKey(Attribute.SecretText) }),
  primaryKey: "id",
  scan: true,
  unique: { token: { fields: ["token"], blind: true } }
})

type Tokens = Resource.RepositoryOf<typeof newer>

const faults: FaultyStore.Faults = {
  delay: { probability: 0.5, maxMillis: 400 },
  throttle: 0.03,
  errorBefore: 0.04,
  errorAfter: 0.05,
  duplicate: 0.02,
  late: { probability: 0.02, maxMillis: 3000 }
}

/** Nothing is lost: whatever was written was acknowledged, and has to be found without a repair. */
const calm: FaultyStore.Faults = { delay: { probability: 0.8, maxMillis: 1500 }, throttle: 0.05 }

const ids = ["1", "2", "3", "4"]
const secrets = ["hunter2-x", "hunter2-y", "hunter2-z"]

const ringOf = (current: string, ...others: ReadonlyArray<string>) =>
  Layer.fresh(
    KeyRing.layerKeys({
      current,
      keys: Object.fromEntries(
        [current, ...others].map((id) => [id, Redacted.make(new Uint8Array(32).fill(id.charCodeAt(0)))])
      )
    })
  )

const openOn = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  const database = yield* Effect.provideService(Database.make(), ObjectStore, store)
  const on = Effect.provideService(Database.Database, database)
  return { older: on(Resource.make(older)), newer: on(Resource.make(newer)) }
})

const token = Effect.fnUntraced(function* () {
  return (yield* chance(0.8)) ? { token: Redacted.make(yield* pick(secrets)) } : {}
})

interface Seen {
  readonly violations: Array<string>
  moves: number
}

const stepOf = Effect.fnUntraced(function* (tokens: Tokens, seen: Seen) {
  const id = yield* pick(ids)
  const kind = yield* Random.nextIntBetween(0, 11)
  const note = `${kind}`
  if (kind < 3) yield* tokens.insert({ id, note, ...(yield* token()) })
  else if (kind < 4) yield* tokens.replace({ id, note, ...(yield* token()) })
  else if (kind < 7) yield* tokens.update(id, (yield* chance(0.6)) ? { note, ...(yield* token()) } : { note })
  else if (kind < 8) yield* tokens.delete(id)
  else if (kind < 11) {
    const secret = yield* pick(secrets)
    const found = yield* tokens.getByUnique("token", { token: Redacted.make(secret) })
    const has = found.token === undefined ? "none" : Redacted.value(found.token)
    if (has !== secret) seen.violations.push(`${found.id} was found by ${secret}, and has ${has}`)
  } else {
    const rotation = (yield* tokens.admin).rotate({ concurrency: 2 })
    yield* Stream.runDrain((yield* chance(0.4)) ? Stream.take(rotation, 2) : rotation)
    seen.moves += 1
  }
})

const olderStepOf = Effect.fnUntraced(function* (tokens: Resource.RepositoryOf<typeof older>) {
  const id = yield* pick(ids)
  const kind = yield* Random.nextIntBetween(0, 4)
  if (kind === 0) yield* tokens.insert({ id, note: "older" })
  else if (kind === 1) yield* tokens.delete(id)
  else yield* tokens.update(id, { note: `older ${kind}` })
})

const work = Effect.fnUntraced(function* (
  base: ObjectStore["Service"],
  options: { readonly seed: number; readonly index: number; readonly ops: number; readonly isCalm: boolean },
  seen: Seen & { crashes: number }
) {
  const { index, isCalm, ops, seed } = options
  let made = 0
  for (let life = 0; made < ops; life++) {
    const client = `c${index}.${life}`
    const crashAt = !isCalm && (yield* chance(0.6)) ? yield* Random.nextIntBetween(10, 80) : undefined
    const crashWhen = (yield* chance(0.5)) ? "before" : "after"
    const ring = yield* pick([ringOf("a"), ringOf("a", "b"), ringOf("b", "a"), ringOf("b", "a")])
    const isOlder = yield* chance(0.2)
    const done = yield* Effect.gen(function* () {
      const faulty = FaultyStore.make(base, { seed, client, faults: isCalm ? calm : faults, crashAt, crashWhen })
      const opened = yield* openOn(RetryingStore.make(faulty.store, { retries: 6, assumeLateArrivals: true }))
      const step = isOlder ? olderStepOf(yield* opened.older) : stepOf(yield* opened.newer, seen)
      const most = made + 10
      while (made < Math.min(ops, most)) {
        made += 1
        // Typed errors are part of it.
        yield* Effect.ignore(step)
        if (yield* chance(0.2)) yield* Effect.sleep(yield* Random.nextIntBetween(1, 4000))
      }
    }).pipe(
      Effect.scoped,
      Effect.provide(ring),
      FaultyStore.withClockSkew((index - 1) * 7000),
      Effect.catch(() => Effect.sleep(1000)),
      FaultyStore.untilCrash
    )
    if (Option.isNone(done)) seen.crashes += 1
    made += 1
  }
})

/** What holds when everything has come to rest: each secret leads to the one document that has it. */
const look = Effect.fnUntraced(function* (what: string, tokens: Tokens, seen: Seen) {
  const all = yield* Stream.runCollect(tokens.scan())
  const owners = new Map<string, string>()
  for (const { id, token: secret } of all) {
    if (secret === undefined) continue
    const value = Redacted.value(secret)
    const other = owners.get(value)
    if (other !== undefined) seen.violations.push(`${what}: ${other} and ${id} both have ${value}`)
    owners.set(value, id)
    const found = yield* Effect.option(tokens.getByUnique("token", { token: secret }))
    const holder = Option.isNone(found) ? "nothing" : found.value.id
    if (holder !== id) seen.violations.push(`${what}: ${value} of ${id} leads to ${holder}`)
  }
  for (const secret of secrets) {
    if (owners.has(secret)) continue
    const found = yield* Effect.option(tokens.getByUnique("token", { token: Redacted.make(secret) }))
    if (Option.isSome(found)) seen.violations.push(`${what}: ${secret}, which none has, leads to ${found.value.id}`)
  }
  return owners.size
})

/** Runs an effect while time passes. */
const passing = <A, E, R>(effect: Effect.Effect<A, E, R>, step: "1 second" | "1 minute" = "1 second") =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust(step)
    return yield* Fiber.join(fiber)
  })

const verify = Effect.fnUntraced(function* (base: ObjectStore["Service"], seed: number, seen: Seen) {
  yield* TestClock.adjust("1 hour")
  const both = yield* Effect.flatMap(openOn(base), (opened) => opened.newer).pipe(Effect.provide(ringOf("b", "a")))
  yield* passing(
    Effect.gen(function* () {
      const { repair, rotate } = yield* both.admin
      if (seed % 2 === 0) yield* look("at rest", both, seen)
      // An operation whose outcome nobody knows may be half done.
      yield* Stream.runDrain(repair({ dryRun: false }))
      yield* look("after the repair", both, seen)
      const rotated = yield* Stream.runCollect(rotate())
      for (const { error, id } of rotated) if (error !== undefined) seen.violations.push(`${id}: ${String(error)}`)
      // What is left is old enough by then.
      yield* Effect.sleep("2 minutes")
      yield* Stream.runDrain(repair({ dryRun: false }))
      const last = yield* Effect.flatMap(openOn(base), (opened) => opened.newer).pipe(Effect.provide(ringOf("b")))
      const owners = yield* look("after the rotation", last, seen)
      const left = yield* Stream.runCollect((yield* last.admin).repair())
      if (left.length > 0)
        seen.violations.push(`the repair left ${left.map(({ kind, key }) => `${kind} ${key}`).join()}`)
      const reservations = yield* keysOf(base, "resource=tokens/unique=")
      if (reservations.length !== owners)
        seen.violations.push(`${owners} secrets have ${reservations.length} reservations`)
      for (const key of yield* keysOf(base)) {
        const { body, metadata } = yield* base.get(key)
        const text = key + JSON.stringify(metadata) + new TextDecoder().decode(body)
        if (text.includes("hunter2-")) seen.violations.push(`a secret is in clear in ${key}`)
      }
    })
  )
})

const history = Effect.fnUntraced(function* (seed: number, ops: number) {
  yield* TestClock.adjust("1 hour")
  const { store } = yield* MemoryStore.make()
  const seen = { violations: [] as Array<string>, crashes: 0, moves: 0 }
  const setup = yield* Effect.flatMap(openOn(store), (opened) => opened.newer).pipe(Effect.provide(ringOf("a")))
  for (const [i, id] of ids.slice(0, 3).entries()) {
    yield* setup.insert({ id, note: "first", token: Redacted.make(secrets[i]!) })
  }
  const working = Effect.forEach(
    [0, 1, 2],
    (index) =>
      work(store, { seed, index, ops, isCalm: seed % 2 === 0 }, seen).pipe(
        Random.withSeed(`${seed}-${index}`),
        Effect.provideService(Id.Generator, Id.seeded(seed * 100 + index))
      ),
    { concurrency: "unbounded", discard: true }
  )
  const end = yield* Effect.exit(passing(working, "1 minute"))
  if (Exit.isFailure(end)) seen.violations.push(`the run itself failed: ${String(end.cause)}`)
  yield* verify(store, seed, seen)
  return seen
})

export const blindHistories = (first: number, count: number, ops: number) =>
  describe("random histories of a blind unique key", () => {
    it.effect(
      `${count} histories without a violation, with moves, crashes and lost answers`,
      () =>
        Effect.gen(function* () {
          const totals = { crashes: 0, moves: 0 }
          for (let seed = first; seed < first + count; seed++) {
            const { violations, ...counts } = yield* history(seed, ops).pipe(
              Pauses.byClock,
              Effect.provideService(Id.Generator, Id.seeded(seed * 100 + 99)),
              Random.withSeed(seed),
              Effect.scoped,
              Effect.provide(TestClock.layer())
            )
            assert.deepStrictEqual(violations, [], `seed ${seed}`)
            for (const name of ["crashes", "moves"] as const) totals[name] += counts[name]
          }
          assert.isAbove(totals.moves, count / 2)
          assert.isAbove(totals.crashes, 0)
        }),
      { timeout: 600_000 }
    )
  })
