/** A database in memory under AWS's rules, and resources on it. */
import { inflateSync } from "node:zlib"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import * as DbError from "effect-s3db/DbError"
import * as Document from "effect-s3db/Document"
import type * as Definition from "effect-s3db/Definition"
import type { Names } from "effect-s3db/Names"
import * as Resource from "effect-s3db/Resource"
import type { DocumentSchema } from "effect-s3db/schema/Attributes"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore, type StoredObject } from "effect-s3db/storage/ObjectStore"
import { turn } from "./waiting.ts"

export interface Fixture {
  readonly store: ObjectStore["Service"]
  readonly database: Database.Database["Service"]
  readonly open: <S extends DocumentSchema>(
    name: string,
    options: Resource.Options<S>
  ) => ReturnType<typeof Resource.make<S, Names>> extends Effect.Effect<infer A, infer E, unknown>
    ? Effect.Effect<A, E, Definition.Services<S["Type"]>>
    : never
}

/** Opens a database on a store, as another process would. */
export const openOn = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  const database = yield* Effect.provideService(Database.make({ catalogLease: 0 }), ObjectStore, store)
  const open = <S extends DocumentSchema>(name: string, options: Resource.Options<S>) =>
    Effect.provideService(Resource.make(Resource.define(name, options)), Database.Database, database)
  return { store, database, open }
})

export const memory = Effect.map(MemoryStore.make(), ({ store }) => store)

export const openNew = Effect.flatMap(memory, openOn)

/** The object of a document as it lies in the store. */
export const objectOf = (store: ObjectStore["Service"], resource: string, id: string): Effect.Effect<StoredObject> =>
  Effect.orDie(store.get(`resource=${resource}/data/id=${id}`))

/** The members of the body of a document, with the fields that are compressed. */
export const bodyOf = (object: StoredObject): Record<string, unknown> => {
  const { compressed, members } = Document.membersIn(object.body)!
  const expanded =
    compressed === undefined ? {} : (JSON.parse(inflateSync(compressed.bytes).toString()) as Record<string, unknown>)
  return { ...(members as Record<string, unknown>), ...expanded }
}

/** Everything of an object in one text, and, of a document, of what is compressed in it. */
export const everything = (object: StoredObject): string => {
  const compressed = Document.membersIn(object.body)?.compressed
  const expanded = compressed === undefined ? "" : inflateSync(compressed.bytes).toString()
  return JSON.stringify(object.metadata) + new TextDecoder().decode(object.body) + expanded
}

export const empty = Context.empty()
export type { Document }

/** What a client that has crashed dies of. */
export class Crashed {
  readonly _tag = "Crashed"
}

/**
 * A store whose client crashes at its request number `at`, counted from 1: before it is carried out, or after. Whatever the
 * client asks for later is not carried out either.
 */
export const crashing = (store: ObjectStore["Service"], at: number, when: "before" | "after") => {
  let requests = 0
  const request = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      requests += 1
      if (requests < at) return effect
      const crash = Effect.die(new Crashed())
      return requests === at && when === "after" ? Effect.andThen(effect, crash) : crash
    })
  const crashed: ObjectStore["Service"] = {
    ...store,
    put: (one) => request(store.put(one)),
    get: (...args) => request(store.get(...args)),
    head: (key) => request(store.head(key)),
    delete: (...args) => request(store.delete(...args)),
    deleteMany: (...args) => request(store.deleteMany(...args)),
    copy: (one) => request(store.copy(one)),
    list: (one) => request(store.list(one))
  }
  return { store: crashed, requests: () => requests }
}

/**
 * When a client crashes at each of its requests, one after the other until it comes to its end: a crash after a request leaves what one
 * before the next does, which nobody hears of either.
 */
export const moments = ["before"] as const

/** What a stream gives, and what it ends with, if that is that it is not done. */
export const tellingOf = Effect.fnUntraced(function* <A, E>(stream: Stream.Stream<A, E | DbError.Unfinished>) {
  const told: Array<A> = []
  const exit = yield* Effect.result(Stream.runForEach(stream, (one) => Effect.sync(() => void told.push(one))))
  if (Result.isSuccess(exit)) return { told, unfinished: undefined }
  const { failure } = exit
  return failure instanceof DbError.Unfinished ? { told, unfinished: failure } : yield* Effect.fail(failure as E)
})

/** Every key of a store. */
export const keysOf = Effect.fnUntraced(function* (store: ObjectStore["Service"], prefix = "") {
  const keys: Array<string> = []
  let token: string | undefined
  do {
    const page = yield* Effect.orDie(store.list({ prefix, token }))
    keys.push(...page.entries.map((entry) => entry.key))
    token = page.nextToken
  } while (token !== undefined)
  return keys
})

/** Lets time pass, second by second, until a fiber is done. */
export const drive = <A, E>(fiber: Fiber.Fiber<A, E>, step: Duration.Input = "1 second"): Effect.Effect<A, E> =>
  Effect.gen(function* () {
    while (fiber.pollUnsafe() === undefined) {
      // What waits for no clock goes on first.
      yield* turn
      yield* TestClock.adjust(step)
    }
    return yield* Fiber.join(fiber)
  })
