/** Queues in tests: opened as another process would, on stores that tell what is asked of them. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as S3Queue from "effect-s3db/plugins/S3Queue"
import { listAll, type ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as StoreError from "effect-s3db/storage/StoreError"
import { openOn } from "../fixture.ts"
import * as waiting from "../waiting.ts"

type Store = ObjectStore["Service"]

export const start = Date.parse("2026-11-26T00:00:00Z")

export const name = "jobs"

export type Options = Partial<S3Queue.Options<string>>

/** A queue of texts, as another process has it; the scope is that of the process. */
export const openIn = Effect.fnUntraced(function* (scope: Scope.Scope, store: Store, options: Options = {}) {
  const { database } = yield* openOn(store)
  return yield* S3Queue.make({ name, payload: Schema.String, ...options }).pipe(
    Effect.provideService(Database, database),
    Effect.provideService(Scope.Scope, scope)
  )
})

export const open = Effect.fnUntraced(function* (store: Store, options: Options = {}) {
  return yield* openIn(yield* Effect.scope, store, options)
})

/** Writes down what is asked of a store. */
export const count = (store: Store) => {
  const requests: Array<string> = []
  const noted = <A, E>(operation: string, key: string, effect: Effect.Effect<A, E>) =>
    Effect.suspend(() => {
      requests.push(`${operation} ${key}`)
      return effect
    })
  const counted: Store = {
    ...store,
    put: (request) => noted("put", request.key, store.put(request)),
    get: (key, options) => noted("get", key, store.get(key, options)),
    head: (key) => noted("head", key, store.head(key)),
    delete: (key, options) => noted("delete", key, store.delete(key, options)),
    deleteMany: (keys, options) => noted("deleteMany", keys[0] ?? "", store.deleteMany(keys, options)),
    copy: (request) => noted("copy", request.to, store.copy(request)),
    list: (request) => noted("list", request?.prefix ?? "", store.list(request))
  }
  return { requests, store: counted }
}

/** Waits until something is so, and what has led to it has come to its end. */
export const until = Effect.fnUntraced(function* (isSo: () => boolean) {
  yield* waiting.until("it comes to that", isSo)
  yield* waiting.settled
})

/** Lets time pass in steps, so that what happens in each comes to its end. */
export const pass = Effect.fnUntraced(function* (millis: number, step = 1000) {
  for (let passed = 0; passed < millis; passed += step) {
    yield* waiting.settled
    yield* TestClock.adjust(Math.min(step, millis - passed))
  }
  yield* waiting.settled
})

/** Lets time pass, 10 minutes at most, until something is so. */
export const passUntil = Effect.fnUntraced(function* (isSo: () => boolean, otherwise: string) {
  for (let seconds = 0; !isSo(); seconds++) {
    if (seconds > 600) return yield* Effect.die(new Error(`after 10 minutes ${otherwise}`))
    yield* pass(1000)
  }
})

/** A store that cannot be reached at times. */
export const failingAtTimes = (store: Store) => {
  let isDown = false
  const reach = <A>(operation: StoreError.Operation, effect: Effect.Effect<A, StoreError.StoreError>) =>
    Effect.suspend(() => {
      const reason = new StoreError.Unavailable({ description: "no answer", sent: false })
      return isDown ? Effect.fail(new StoreError.StoreError({ operation, reason })) : effect
    })
  const reached: Store = {
    ...store,
    put: (request) => reach("put", store.put(request)),
    get: (...args) => reach("get", store.get(...args)),
    delete: (...args) => reach("delete", store.delete(...args)),
    deleteMany: (...args) => reach("deleteMany", store.deleteMany(...args)),
    list: (request) => reach("list", store.list(request))
  }
  return { store: reached, setDown: (down: boolean) => void (isDown = down) }
}

/** All keys of a store. */
export const keys = (store: Store) =>
  Effect.map(Stream.runCollect(listAll(store, {})), (entries) => entries.map(({ key }) => key))

/** A store with a clock of its own, whatever that of its clients says. */
export const keepingTime = (store: Store, clock: Clock.Clock): Store => {
  const by = <A, E>(effect: Effect.Effect<A, E>) => Effect.provideService(effect, Clock.Clock, clock)
  return {
    ...store,
    put: (request) => by(store.put(request)),
    get: (...args) => by(store.get(...args)),
    head: (key) => by(store.head(key))
  }
}

/** A store whose answers to writes are lost, and that cannot be read then. */
export const losingAnswers = (store: Store) => {
  let isLosing = false
  let isUnreadable = false
  const lost = (operation: StoreError.Operation) =>
    new StoreError.StoreError({
      operation,
      reason: new StoreError.Unavailable({ description: "no answer", sent: true })
    })
  const losing: Store = {
    ...store,
    put: (request) =>
      Effect.flatMap(store.put(request), (result) => {
        isUnreadable = isLosing
        return isLosing ? Effect.fail(lost("put")) : Effect.succeed(result)
      }),
    get: (...args) => Effect.suspend(() => (isUnreadable ? Effect.fail(lost("get")) : store.get(...args)))
  }
  return {
    store: losing,
    losing: (on: boolean) => {
      isLosing = on
      if (!on) isUnreadable = false
    }
  }
}

/** One store, or another from some moment on. */
export const switching = (before: Store, after: Store, isSwitched: () => boolean): Store => {
  const now = () => (isSwitched() ? after : before)
  return {
    ...before,
    put: (request) => Effect.suspend(() => now().put(request)),
    get: (...args) => Effect.suspend(() => now().get(...args)),
    head: (key) => Effect.suspend(() => now().head(key)),
    delete: (...args) => Effect.suspend(() => now().delete(...args)),
    deleteMany: (...args) => Effect.suspend(() => now().deleteMany(...args)),
    list: (request) => Effect.suspend(() => now().list(request))
  }
}
