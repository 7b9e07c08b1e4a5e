/**
 * The suite that every plugin of this project passes. Run it on a plugin of your own.
 *
 * ```ts no-check
 * import * as PluginSuite from "effect-s3db/testing/PluginSuite"
 *
 * PluginSuite.suite("Notes", {
 *   plugin: Notes.plugin,
 *   open: (options) => Notes.make(options),
 *   add: (notes, ids) => Effect.forEach(ids, (id) => notes.write(id, "x")),
 *   ids: (notes) => notes.all
 * })
 * ```
 *
 * **Details**
 *
 * The plugin is told to store something for ids, and asked for what it has. Shown is: instances of other namespaces, and
 * plugins with names like its own, are apart; ids are data, or refused; two processes are one plugin; a crash before or after any
 * request, and a store that cannot be reached, lose nothing that was acknowledged and leave nothing that is in the way; all of
 * 2,500 things are there, beyond every page; uninstalling removes what is its own, and nothing else.
 *
 * It needs `vitest` and `@effect/vitest`. Each test has a store in memory of its own, and runs under `TestClock`.
 *
 * @since 0.1.0
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Database from "../Database.ts"
import { percentEncode } from "../internal/text.ts"
import * as PluginStore from "../kernel/PluginStore.ts"
import * as Plugin from "../Plugin.ts"
import * as MemoryStore from "../storage/MemoryStore.ts"
import { listAll, ObjectStore } from "../storage/ObjectStore.ts"
import { type Operation, StoreError, Unavailable } from "../storage/StoreError.ts"
import * as FaultyStore from "./FaultyStore.ts"

type Store = ObjectStore["Service"]

/**
 * A plugin, as the suite uses it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Subject<Service, E = unknown, EUse = unknown> {
  readonly plugin: { readonly name: string; readonly version: number }
  /**
   * Opens an instance, as its layer would, with any resources that it needs. Options that keep it waiting as the scope closes have to be
   * off: time stands still.
   */
  readonly open: (options: Plugin.Options) => Effect.Effect<Service, E, Database.Database | ObjectStore | Scope.Scope>
  /** Makes it store something for each id. Doing so again changes nothing. An id that it cannot have fails. */
  readonly add: (service: Service, ids: ReadonlyArray<string>) => Effect.Effect<unknown, EUse>
  /** Gives the id of everything that it has, in any order. */
  readonly ids: (service: Service) => Effect.Effect<ReadonlyArray<string>, EUse>
  /** Resources of the program whose documents are written. Default: none. */
  readonly resources?: ReadonlyArray<string> | undefined
  /** What other keys that are written meanwhile begin with, such as `journal/`. Default: none. */
  readonly prefixes?: ReadonlyArray<string> | undefined
  /** How much it is made to store at once. Default: 2,500. */
  readonly records?: number | undefined
  /** Ids that it has to take as they are. Default: texts that could spoil a key, a path or an object. */
  readonly hostileIds?: ReadonlyArray<string> | undefined
  /** What lets time pass, or something else happen, before a process that comes after a crash is looked at. Default: nothing. */
  readonly afterCrash?: Effect.Effect<unknown> | undefined
  /** The most requests that opening it and adding one may take. Default: 100. */
  readonly mostRequests?: number | undefined
  /** Of one test. Default: 60 seconds. */
  readonly timeoutMillis?: number | undefined
}

/**
 * Ids that could spoil a key, a path or an object.
 *
 * @category constants
 * @since 0.1.0
 */
export const hostileIds: ReadonlyArray<string> = [
  "a/b",
  "a",
  "..",
  ".",
  "../../etc/passwd",
  "a//b",
  " ",
  "a b",
  "%2F",
  "a=b&c",
  "a:b",
  "__proto__",
  "constructor",
  "ä",
  "a\u0308",
  "日本語",
  "\u{1F600}",
  "A",
  "id=1",
  "\u0000",
  "\n",
  "null",
  "0"
]

/** A text that is no valid Unicode: no key can have it. */
const malformed = "\uD800"

const keysIn = (store: Store) =>
  Effect.map(Stream.runCollect(listAll(store, { keysOnly: true })), (entries) => entries.map(({ key }) => key))

/** A store whose requests go through a gate. */
const gated = (
  store: Store,
  gate: <A>(operation: Operation, request: Effect.Effect<A, StoreError>) => Effect.Effect<A, StoreError>
): Store => ({
  ...store,
  put: (request) => gate("put", store.put(request)),
  get: (...args) => gate("get", store.get(...args)),
  head: (key) => gate("head", store.head(key)),
  delete: (...args) => gate("delete", store.delete(...args)),
  deleteMany: (...args) => gate("deleteMany", store.deleteMany(...args)),
  copy: (request) => gate("copy", store.copy(request)),
  list: (request) => gate("list", store.list(request))
})

/** A store on which others go on before each request. */
const yielding = (store: Store) => gated(store, (_, request) => Effect.andThen(Effect.yieldNow, request))

/** A process of its own on a store; it ends with the scope. */
const processOn = Effect.fnUntraced(function* <Service, E>(
  store: Store,
  { open }: Pick<Subject<Service, E>, "open">,
  namespace = ""
) {
  const database = yield* Effect.provideService(Database.make({ catalogLease: 0 }), ObjectStore, store)
  const service = yield* open({ namespace }).pipe(
    Effect.provideService(Database.Database, database),
    Effect.provideService(ObjectStore, store)
  )
  const statuses = Effect.provideService(Plugin.statuses, Database.Database, database)
  return { database, service, statuses }
})

/**
 * A test of the suite, which dies of an `AssertionError` when it is not passed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Test {
  readonly title: string
  readonly run: Effect.Effect<void, unknown, Scope.Scope>
}

/**
 * Registers the tests of a plugin.
 *
 * @category constructors
 * @since 0.1.0
 */
export const suite = <Service, E, EUse = unknown>(name: string, subject: Subject<Service, E, EUse>): void => {
  describe(name, () => {
    for (const { run, title } of tests(subject)) it.effect(title, () => run, subject.timeoutMillis ?? 60_000)
  })
}

/**
 * Makes the tests of a plugin, for other runners.
 *
 * @category constructors
 * @since 0.1.0
 */
export const tests = <Service, E, EUse = unknown>(subject: Subject<Service, E, EUse>): ReadonlyArray<Test> => {
  const { add, afterCrash = Effect.void, ids, mostRequests = 100, plugin, records = 2500, resources = [] } = subject
  const { prefixes = [] } = subject
  const has = (service: Service) => Effect.map(ids(service), (all) => [...all].toSorted())

  /** Does something in a process that ends with it. */
  const during = <A, E2>(
    store: Store,
    use: (process: Effect.Success<ReturnType<typeof processOn<Service, E>>>) => Effect.Effect<A, E2>,
    namespace?: string
  ) => Effect.scoped(Effect.flatMap(processOn(store, subject, namespace), use))

  /** Does as much as a process can before it crashes, and tells whether it has crashed. */
  const untilCrash = Effect.fnUntraced(function* (store: Store, crashAt: number, crashWhen: "before" | "after") {
    const faulty = FaultyStore.make(store, { seed: 1, crashAt, crashWhen })
    const scope = yield* Scope.make()
    const work = Effect.provideService(processOn(faulty.store, subject), Scope.Scope, scope).pipe(
      Effect.flatMap(({ service }) => add(service, ["x"]))
    )
    const done = yield* FaultyStore.untilCrash(work)
    const hasCrashed = yield* faulty.control.crashed
    yield* faulty.control.crash
    // Nothing is tidied up by who is not there any more.
    yield* Effect.exit(Scope.close(scope, Exit.void))
    return { isDone: Option.isSome(done), hasCrashed }
  })

  const isOwn = (slug: string) => {
    const prefix = PluginStore.keyPrefix(slug)
    const namespace = plugin.name === slug ? [] : [slug.slice(plugin.name.length + 1)]
    const resource = `resource=${["plg", ...namespace, plugin.name].join("_")}_`
    const documents = resources.map((one) => `resource=${percentEncode(one)}/`)
    return (key: string) => {
      if (prefixes.some((prefix) => key.startsWith(prefix))) return true
      if (key.startsWith("s3db.json") || key.startsWith(prefix) || key.startsWith(resource)) return true
      if (!key.startsWith("resource=")) return false
      return key.includes("/plugin=") ? key.includes(`/${prefix}`) : documents.some((one) => key.startsWith(one))
    }
  }

  const all: Array<Test> = []
  const test = (title: string, run: Test["run"]) => void all.push({ title, run })

  test(
    "is running and up, counts, and is gone when it is closed",
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const database = yield* during(store, ({ database, statuses }) =>
        Effect.gen(function* () {
          const [status] = yield* statuses
          assert.deepStrictEqual(
            [status?.plugin, status?.version, status?.state, status?.health],
            [plugin.name, plugin.version, "running", { level: "up" }]
          )
          return database
        })
      )
      assert.deepStrictEqual(yield* database.pluginRegistry.entries, [])
    })
  )

  test(
    "has nothing in common with instances of other namespaces, and writes nowhere else",
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const namespaces = ["", "a", "aa", plugin.name]
      const before = new Set(yield* keysIn(store))
      for (const namespace of namespaces) {
        yield* during(store, ({ service }) => add(service, ["same", `of-${namespace}`]), namespace)
        const isAllowed = isOwn(Plugin.slugOf(plugin, { namespace }))
        for (const key of yield* keysIn(store)) {
          if (!before.has(key)) assert.isTrue(isAllowed(key), `namespace ${JSON.stringify(namespace)} wrote ${key}`)
          before.add(key)
        }
      }
      for (const namespace of namespaces) {
        const found = yield* during(store, ({ service }) => has(service), namespace)
        assert.deepStrictEqual(found, [`of-${namespace}`, "same"].toSorted())
      }
    })
  )

  test(
    "takes ids as they are, or refuses them and changes nothing",
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const given = subject.hostileIds ?? hostileIds
      yield* during(store, ({ service }) =>
        Effect.gen(function* () {
          for (const id of given) yield* add(service, [id])
          assert.deepStrictEqual(yield* has(service), [...given].toSorted())
          const refused = yield* Effect.exit(add(service, [malformed]))
          assert.isTrue(Exit.isFailure(refused) && Cause.hasFails(refused.cause), "malformed text is not refused")
          assert.deepStrictEqual(yield* has(service), [...given].toSorted())
        })
      )
      // Another process reads the same.
      assert.deepStrictEqual(yield* during(store, ({ service }) => has(service)), [...given].toSorted())
    })
  )

  test(
    "is one in two processes",
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const one = yield* processOn(yielding(store), subject)
      const other = yield* processOn(yielding(store), subject)
      const both = [add(one.service, ["a", "b", "c", "d"]), add(other.service, ["c", "d", "e", "f"])]
      yield* Effect.all(both, { concurrency: 2 })
      for (const { service } of [one, other]) {
        assert.deepStrictEqual(yield* has(service), ["a", "b", "c", "d", "e", "f"])
      }
    })
  )

  for (const when of ["before", "after"] as const) {
    test(
      `loses nothing when it crashes ${when} any request`,
      Effect.gen(function* () {
        for (let at = 1; at <= mostRequests; at++) {
          const { store } = yield* MemoryStore.make()
          const { hasCrashed, isDone } = yield* untilCrash(store, at, when)
          yield* afterCrash
          yield* during(store, ({ service }) =>
            Effect.gen(function* () {
              // Of what was not acknowledged it may have all or nothing.
              const left = yield* has(service)
              assert.isTrue(isDone ? left.length === 1 : left.length <= 1, `crash at request ${at}: ${left.join()}`)
              yield* add(service, ["x", "y"])
              assert.deepStrictEqual(yield* has(service), ["x", "y"], `crash at request ${at}`)
            })
          )
          if (isDone && !hasCrashed) return assert.isAbove(at, 1)
        }
        assert.fail(`it takes more than ${mostRequests} requests`)
      })
    )
  }

  test(
    "fails with a typed error while the store cannot be reached, and goes on afterwards",
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      let isDown = false
      const reason = new Unavailable({ description: "the store cannot be reached", sent: false })
      const flaky = gated(store, (operation, request) =>
        Effect.suspend(() => (isDown ? Effect.fail(new StoreError({ operation, reason })) : request))
      )
      const { service, statuses } = yield* processOn(flaky, subject)
      yield* add(service, ["a"])
      isDown = true
      const exit = yield* Effect.exit(add(service, ["b"]))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasFails(exit.cause), "it does not say so")
      // How it fares it says all the same.
      assert.strictEqual((yield* statuses).length, 1)
      isDown = false
      yield* add(service, ["b"])
      assert.deepStrictEqual(yield* has(service), ["a", "b"])
    })
  )

  test(
    `has all of ${records}`,
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const many = Array.from({ length: records }, (_, i) => `id-${i}`).toSorted()
      yield* during(store, ({ service }) => add(service, many))
      assert.deepStrictEqual(yield* during(store, ({ service }) => has(service)), many)
      const kept = yield* keysIn(store)
      const { objects } = yield* uninstalling(store, { purge: true })
      const left = yield* keysIn(store)
      assert.strictEqual(objects, kept.length - left.length)
      assert.deepStrictEqual(
        left.filter((key) => key.includes(PluginStore.keyPrefix(plugin.name))),
        []
      )
    })
  )

  test(
    "is found again when it was uninstalled, and not when it was purged; others stay",
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      yield* during(store, ({ service }) => add(service, ["x"]))
      yield* during(store, ({ service }) => add(service, ["of a"]), "a")
      const keys = yield* keysIn(store)
      assert.strictEqual((yield* uninstalling(store, {})).objects, 0)
      assert.deepStrictEqual(yield* keysIn(store), keys)
      assert.deepStrictEqual(yield* during(store, ({ service }) => has(service)), ["x"])
      yield* uninstalling(store, { purge: true })
      assert.deepStrictEqual(yield* during(store, ({ service }) => has(service), "a"), ["of a"])
      assert.deepStrictEqual(yield* during(store, ({ service }) => has(service)), [])
      yield* during(store, ({ service }) => add(service, ["x"]))
      assert.deepStrictEqual(yield* during(store, ({ service }) => has(service)), ["x"])
    })
  )

  test(
    "can be purged again after a crash at any request of that",
    Effect.gen(function* () {
      const { control, store } = yield* MemoryStore.make()
      yield* during(store, ({ service }) => add(service, ["x", "y"]))
      const start = yield* control.snapshot
      for (let at = 1; at <= mostRequests; at++) {
        yield* control.restore(start)
        const faulty = FaultyStore.make(store, { seed: 1, crashAt: at, crashWhen: at % 2 === 0 ? "before" : "after" })
        const done = yield* FaultyStore.untilCrash(uninstalling(faulty.store, { purge: true }))
        yield* uninstalling(store, { purge: true })
        const left = (yield* keysIn(store)).filter((key) => key.includes(PluginStore.keyPrefix(plugin.name)))
        assert.deepStrictEqual(left, [], `crash at request ${at}`)
        if (Option.isSome(done)) return assert.isAbove(at, 1)
      }
      assert.fail(`it takes more than ${mostRequests} requests`)
    })
  )

  const uninstalling = Effect.fnUntraced(function* (store: Store, options: { readonly purge?: boolean }) {
    const database = yield* Effect.provideService(Database.make({ catalogLease: 0 }), ObjectStore, store)
    return yield* Effect.provideService(Plugin.uninstall(plugin, options), Database.Database, database)
  })
  return all
}
