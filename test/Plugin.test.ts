import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Database } from "effect-s3db/Database"
import * as Plugin from "effect-s3db/Plugin"
import * as PluginRegistry from "effect-s3db/PluginRegistry"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { drive, keysOf, memory, openNew, openOn } from "./fixture.ts"

type Told = { readonly _tag: "Told"; readonly what: string }
const plugin = Plugin.define<Told>("tester", { version: 1 })

const tagOf = (effect: Effect.Effect<unknown, { readonly _tag: string }, Database>) =>
  Effect.map(Effect.flip(effect), ({ _tag }) => _tag)

/** What of a status does not change by itself. */
const brief = ({ health, slug, state }: PluginRegistry.Status) => [slug, state, health.level]

describe("Plugin", () => {
  describe("instances", () => {
    it.effect("have names of their own, and what they store is apart", () =>
      Effect.gen(function* () {
        const { database, store } = yield* openNew
        const scope = yield* Effect.scope
        const open = (namespace?: string) =>
          Effect.provideService(Plugin.open(plugin, { namespace }), Database, database).pipe(
            Effect.provideService(Scope.Scope, scope)
          )
        const instances = [yield* open(), yield* open("a"), yield* open("aa"), yield* open("a-tester")]
        assert.deepStrictEqual(
          instances.map(({ slug }) => slug),
          ["tester", "tester.a", "tester.aa", "tester.a-tester"]
        )
        assert.deepStrictEqual(
          instances.map((one) => one.resourceName("logs")),
          ["plg_tester_logs", "plg_a_tester_logs", "plg_aa_tester_logs", "plg_a-tester_tester_logs"]
        )
        for (const one of instances) {
          yield* one.store(Schema.String).set(["k", "../__proto__"], one.slug)
          yield* one.store(Schema.String, { resource: "users/é" }).set("k", `${one.slug}+`)
        }
        for (const one of instances) {
          const own = yield* Stream.runCollect(one.store(Schema.String).entries())
          assert.deepStrictEqual(
            own.map(({ key, value }) => [...key, value]),
            [["k", "../__proto__", one.slug]]
          )
          const about = one.store(Schema.String, { resource: "users/é" })
          assert.deepStrictEqual(yield* Effect.map(about.get("k"), ({ _tag }) => _tag), "Some")
          assert.deepStrictEqual(yield* keysOf(store, one.prefix("users/é")), [`${about.prefix}k`])
        }
      })
    )

    it.effect("are the same whatever case a namespace is written in, and refused where it is none", () =>
      Effect.gen(function* () {
        const { database, store } = yield* openNew
        const open = (of: Plugin.Plugin<never>, namespace?: unknown) =>
          Effect.provideService(Plugin.open(of, { namespace: namespace as string }), Database, database)
        const one = Plugin.define("one", { version: 1 })
        assert.strictEqual((yield* open(one, "Big_Shop")).slug, "one.big-shop")
        assert.strictEqual((yield* open(one, "")).slug, "one")
        const before = yield* keysOf(store)
        for (const namespace of [null, 5, {}, "x".repeat(51), "a/b", "a.b", "é", " ", "a\n"]) {
          const error = yield* Effect.flip(open(one, namespace))
          assert.deepStrictEqual([error._tag, "field" in error && error.field], ["InvalidPlugin", "namespace"])
        }
        for (const name of ["", "Upper", "a_b", "a.b", "-a", "a-", "1a", "__proto__", "x".repeat(51), 5 as never]) {
          const error = yield* Effect.flip(open(Plugin.define(name, { version: 1 })))
          assert.deepStrictEqual([error._tag, "field" in error && error.field], ["InvalidPlugin", "name"])
        }
        const error = yield* Effect.flip(open(Plugin.define("one", { version: 0.5 })))
        assert.strictEqual(error.message, 'plugin "one", version: Expected a whole number from 1')
        assert.deepStrictEqual(yield* keysOf(store), before)
      })
    )

    it.effect("are noted in the catalog once, and refused when a newer release was there", () =>
      Effect.gen(function* () {
        const { counter, store } = InstrumentedStore.make(yield* memory)
        const run = <A, E>(effect: Effect.Effect<A, E, Database | Scope.Scope>) =>
          Effect.gen(function* () {
            const { database } = yield* openOn(store)
            const before = yield* counter.counts
            const result = yield* Effect.scoped(Effect.provideService(effect, Database, database))
            const after = yield* counter.counts
            return { result, puts: after.put - before.put, gets: after.get - before.get }
          })
        const first = yield* run(Plugin.open(plugin, { namespace: "a" }))
        assert.deepStrictEqual([first.puts, first.gets], [2, 0])
        const second = yield* run(Plugin.open(plugin, { namespace: "a" }))
        assert.deepStrictEqual([second.puts, second.gets], [0, 0])
        const newer = Plugin.define("tester", { version: 2 })
        yield* run(Plugin.open(newer, { namespace: "a" }))
        const { result } = yield* run(Effect.flip(Plugin.open(plugin, { namespace: "a" })))
        assert.strictEqual(result._tag === "DbError" && result.reason._tag, "Unsupported")
        assert.deepStrictEqual((yield* run(Plugin.installed)).result, [
          { plugin: "tester", namespace: "a", version: 2, isInstalled: true }
        ])
        yield* run(Effect.flatMap(Database, (database) => database.setPlugin("tester.b", "something")))
        const corrupt = yield* run(Effect.flip(Plugin.open(plugin, { namespace: "b" })))
        assert.strictEqual(corrupt.result._tag === "DbError" && corrupt.result.reason._tag, "Corrupt")
        assert.strictEqual((yield* run(Plugin.installed)).result.length, 1)
      })
    )
  })

  describe("layers", () => {
    class A extends Context.Service<A, Plugin.Instance>()("effect-s3db/test/Plugin.test/A") {
      static readonly plugin = Plugin.define("a", { version: 1 })
      static readonly layer = Layer.effect(
        A,
        Effect.gen(function* () {
          const self = yield* Plugin.open(A.plugin)
          yield* self.running()
          return self
        })
      )
    }
    class B extends Context.Service<B, Plugin.Instance>()("effect-s3db/test/Plugin.test/B") {
      static readonly plugin = Plugin.define("b", { version: 1 })
      static readonly layer = Layer.effect(
        B,
        Effect.gen(function* () {
          yield* A
          const self = yield* Plugin.open(B.plugin)
          yield* self.running()
          return self
        })
      )
    }

    it.effect("start in the order of their dependencies, and are closed the other way round", () =>
      Effect.gen(function* () {
        const { database } = yield* openNew
        const told = yield* database.pluginRegistry.events.subscribe("StateChanged")
        const process = yield* Scope.make()
        const layer = Layer.merge(B.layer.pipe(Layer.provide(A.layer)), A.layer)
        yield* Layer.buildWithScope(layer, process).pipe(Effect.provideService(Database, database))
        const now = Effect.provideService(Plugin.statuses, Database, database)
        assert.deepStrictEqual((yield* now).map(brief), [
          ["a", "running", "up"],
          ["b", "running", "up"]
        ])
        yield* Scope.close(process, Exit.void)
        assert.deepStrictEqual(yield* now, [])
        const events = yield* Stream.runCollect(Stream.take(told, 8))
        assert.deepStrictEqual(
          events.map((event) => (event._tag === "StateChanged" ? `${event.plugin} ${event.state ?? "closed"}` : event)),
          ["a starting", "a running", "b starting", "b running", "b stopping", "b closed", "a stopping", "a closed"]
        )
      })
    )

    it.effect("that fail leave nothing behind", () =>
      Effect.gen(function* () {
        const { database } = yield* openNew
        const failing = Effect.scoped(Effect.andThen(Plugin.open(plugin), Effect.fail("no")))
        yield* Effect.flip(Effect.provideService(failing, Database, database))
        assert.deepStrictEqual(yield* Effect.provideService(Plugin.statuses, Database, database), [])
      })
    )
  })

  describe("status", () => {
    it.effect("says what it is, how it fares and what it has counted, also where it cannot say so", () =>
      Effect.gen(function* () {
        const { database } = yield* openNew
        const provided = Effect.provideService(Database, database)
        const open = (namespace: string) => provided(Plugin.open(plugin, { namespace }))
        const statuses = provided(Plugin.statuses)
        const fine = yield* open("fine")
        assert.deepStrictEqual((yield* statuses).map(brief), [["tester.fine", "starting", "up"]])
        yield* fine.running({
          health: Effect.succeed({ level: "degraded", detail: "late" }),
          counters: Effect.succeed({ waiting: 3 })
        })
        yield* fine.count("done")
        yield* fine.count("done", 4)
        const broken = yield* open("broken")
        yield* broken.running({ health: Effect.die("oh"), counters: Effect.die("oh") })
        const silent = yield* open("silent")
        yield* silent.running({ health: Effect.never })
        const all = yield* Effect.forkChild(statuses, { startImmediately: true })
        const [one, two, three] = yield* drive(all)
        assert.deepStrictEqual(one!.counters, { done: 5, waiting: 3 })
        assert.deepStrictEqual(one!.health, { level: "degraded", detail: "late" })
        assert.deepStrictEqual(two!.health, { level: "down", detail: "it could not say how it fares" })
        assert.deepStrictEqual(two!.counters, {})
        assert.deepStrictEqual(three!.health, { level: "down", detail: "it did not answer within 5 seconds" })
        const json = yield* Schema.encodeEffect(Schema.toCodecJson(Schema.Array(PluginRegistry.Status)))([one!])
        assert.deepInclude(json as ReadonlyArray<unknown>, {
          plugin: "tester",
          version: 1,
          namespace: "fine",
          slug: "tester.fine",
          state: "running",
          since: "1970-01-01T00:00:00.000Z",
          health: { level: "degraded", detail: "late" },
          counters: { done: 5, waiting: 3 }
        })
      })
    )

    it.effect("tells events to who listens to the instance, and to who listens to all", () =>
      Effect.gen(function* () {
        const { database } = yield* openNew
        const provided = Effect.provideService(Database, database)
        const scope = yield* Scope.make()
        const one = yield* Effect.provideService(provided(Plugin.open(plugin)), Scope.Scope, scope)
        const other = yield* provided(Plugin.open(plugin, { namespace: "b" }))
        const all = yield* (yield* provided(Plugin.events)).subscribe({ tag: "Published", plugin: "tester" })
        const mine = yield* Effect.forkChild(Stream.runCollect(one.events), { startImmediately: true })
        yield* one.publish({ _tag: "Told", what: "x" })
        yield* other.publish({ _tag: "Told", what: "y" })
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(yield* Fiber.join(mine), [{ _tag: "Told", what: "x" }])
        const told = yield* Stream.runCollect(Stream.take(all, 2))
        assert.deepStrictEqual(
          told.map((event) => event._tag === "Published" && [event.name, event.namespace, event.event as Told]),
          [
            ["plugin.tester.Told", "", { _tag: "Told", what: "x" }],
            ["plugin.tester.Told", "b", { _tag: "Told", what: "y" }]
          ]
        )
      })
    )
  })

  describe("attributes", () => {
    const fields = { id: Schema.String, name: Schema.String }
    const own = Plugin.attributes(plugin, {
      seenAt: Schema.optionalKey(Schema.DateTimeUtc),
      visits: Schema.optional(Schema.Int)
    })
    const rival = Plugin.define("rival", { version: 1 })
    const others = Plugin.attributes(rival, { score: Schema.optionalKey(Schema.Int) })
    class User extends Schema.Class<User>("test/User")(Plugin.withAttributes(fields, { ...own, ...others })) {}
    const users = Resource.define("users", { schema: User, primaryKey: "id" })
    const plain = Resource.define("users", { schema: Schema.Struct(fields), primaryKey: "id" })

    it.effect("are owned apart, leave ids of other fields as they are, and are kept when they are nobody's", () =>
      Effect.gen(function* () {
        const { database, store } = yield* openNew
        const provided = <A, E, R>(effect: Effect.Effect<A, E, R | Database>) =>
          Effect.provideService(effect, Database, database)
        const told = yield* database.pluginRegistry.events.subscribe()
        const idsOf = Effect.map(store.get("s3db.json"), ({ body }) => {
          const { attributes } = JSON.parse(new TextDecoder().decode(body)).resources.users
          return Object.entries(attributes as Record<string, { readonly path: ReadonlyArray<string> }>).map(
            ([id, { path }]) => [path[0], id]
          )
        })
        yield* provided(Resource.make(plain))
        assert.deepStrictEqual(yield* idsOf, [["name", "0"]])

        const tester = yield* provided(Plugin.open(plugin))
        const other = yield* provided(Plugin.open(rival))
        yield* tester.claim(users, own)
        yield* other.claim(users, others)
        yield* tester.claim(users, own)
        const ids = yield* idsOf
        assert.deepStrictEqual(ids[0], ["name", "0"])
        assert.strictEqual(ids.length, 4)

        const program = yield* openOn(store)
        const withPlugin = yield* Effect.provideService(Resource.make(users), Database, program.database)
        yield* withPlugin.insert({ id: "1", name: "Ada", visits: 3, score: 1 })

        // Nobody takes what is another's, or was.
        assert.strictEqual((yield* Effect.flip(other.release("users", "visits")))._tag, "AttributeTaken")
        const second = yield* provided(Plugin.open(plugin, { namespace: "second" }))
        const taken = yield* Effect.flip(second.claim(users, own))
        assert.strictEqual(taken.message, 'attribute "seenAt" of "users" belongs to plugin "tester"')
        assert.strictEqual(yield* tester.release("users", "visits"), true)
        assert.strictEqual(yield* tester.release("users", "visits"), false)
        assert.strictEqual(yield* tester.release("users", "missing"), false)
        assert.strictEqual(yield* tester.release("nothing", "visits"), false)
        assert.strictEqual((yield* Effect.flip(second.claim(users, { visits: own.visits })))._tag, "AttributeTaken")
        assert.deepStrictEqual(yield* provided(Plugin.attributesIn("users")), [
          { attribute: "score", owner: "rival", state: "owned" },
          { attribute: "seenAt", owner: "tester", state: "owned" },
          { attribute: "visits", owner: "tester", state: "orphaned" }
        ])

        // A program without the plugin leaves it as it is.
        const without = yield* openOn(store)
        const plainUsers = yield* Effect.provideService(Resource.make(plain), Database, without.database)
        yield* plainUsers.patch("1", { name: "Grace" })
        assert.deepStrictEqual(yield* plainUsers.get("1"), { id: "1", name: "Grace" })

        const later = yield* openOn(store)
        const again = yield* Effect.provideService(Resource.make(users), Database, later.database)
        const read = yield* again.get("1")
        assert.instanceOf(read, User)
        assert.deepStrictEqual({ ...read }, { id: "1", name: "Grace", visits: 3, score: 1 })
        yield* tester.claim(users, own)
        assert.deepStrictEqual(yield* idsOf, ids)
        const changes = yield* Stream.runCollect(
          told.pipe(
            Stream.filter((event) => event._tag.startsWith("Attribute")),
            Stream.take(5)
          )
        )
        assert.deepStrictEqual(
          changes.map((event) => "attribute" in event && `${event._tag} ${event.plugin} ${event.attribute}`),
          [
            "AttributeClaimed tester seenAt",
            "AttributeClaimed tester visits",
            "AttributeClaimed rival score",
            "AttributeOrphaned tester visits",
            "AttributeReclaimed tester visits"
          ]
        )
      })
    )

    it.effect("are refused where the program has a field of that name, or none", () =>
      Effect.gen(function* () {
        const { database, store } = yield* openNew
        const tester = yield* Effect.provideService(Plugin.open(plugin), Database, database)
        const schema = Schema.Struct({ ...own, ...fields, visits: Schema.optional(Schema.Int) })
        const before = yield* store.get("s3db.json")
        const taken = yield* Effect.flip(tester.claim(Resource.define("users", { schema, primaryKey: "id" }), own))
        assert.strictEqual(taken.message, 'attribute "visits" of "users" belongs to the resource itself')
        assert.strictEqual((yield* Effect.flip(tester.claim(plain, own)))._tag, "InvalidPlugin")
        assert.strictEqual((yield* store.get("s3db.json")).etag, before.etag)
        assert.throws(() => Plugin.withAttributes({ ...fields, visits: Schema.Int } as {}, own), /"visits"/)
      })
    )
  })

  describe("uninstall", () => {
    const notes = Plugin.define("notes", { version: 1 })
    const fields = Plugin.attributes(notes, { noted: Schema.optionalKey(Schema.Int) })
    const users = Resource.define("users", {
      schema: Schema.Struct(Plugin.withAttributes({ id: Schema.String }, fields)),
      primaryKey: "id"
    })

    const filled = Effect.gen(function* () {
      const store = yield* memory
      const { database } = yield* openOn(store)
      const provided = <A, E, R>(effect: Effect.Effect<A, E, R | Database>) =>
        Effect.provideService(effect, Database, database)
      const repository = yield* provided(Resource.make(users))
      yield* repository.insert({ id: "1" })
      for (const name of ["plg_notes_log", "plg_a_notes_log", "plg_notes_log_x", "plg_a_notes"]) {
        const log = yield* provided(
          Resource.make(Resource.define(name, { schema: Schema.Struct({ id: Schema.String }), primaryKey: "id" }))
        )
        yield* log.insert({ id: "1" })
      }
      for (const namespace of ["", "a", "ab"]) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const self = yield* provided(Plugin.open(notes, { namespace }))
            yield* self.store(Schema.Int).set("k", 1)
            yield* self.store(Schema.Int, { resource: "users" }).set("k", 1)
            if (namespace === "a") yield* self.claim(users, fields)
          })
        )
      }
      return { store, provided }
    })

    it.effect("removes what the instance has, and nothing else", () =>
      Effect.gen(function* () {
        const { provided, store } = yield* filled
        const before = (yield* keysOf(store)).filter((key) => !key.startsWith("s3db.json"))
        const kept = yield* provided(Plugin.uninstall(notes, { namespace: "A" }))
        assert.deepStrictEqual(kept, { objects: 0, orphaned: 1 })
        assert.deepStrictEqual(
          (yield* keysOf(store)).filter((key) => !key.startsWith("s3db.json")),
          before
        )
        assert.deepInclude(yield* provided(Plugin.installed), {
          plugin: "notes",
          namespace: "a",
          version: 1,
          isInstalled: false
        })
        const purged = yield* provided(Plugin.uninstall(notes, { namespace: "a", purge: true }))
        assert.deepStrictEqual(purged, { objects: 3, orphaned: 0 })
        const gone = ["plugin=notes.a/k", "resource=plg_a_notes_log/data/id=1", "resource=users/plugin=notes.a/k"]
        assert.deepStrictEqual(
          (yield* keysOf(store)).filter((key) => !key.startsWith("s3db.json")),
          before.filter((key) => !gone.includes(key))
        )
        assert.deepStrictEqual(
          (yield* provided(Plugin.installed)).map(({ namespace }) => namespace),
          ["", "ab"]
        )
        // Documents have it yet: it stays the instance's.
        assert.deepStrictEqual(yield* provided(Plugin.attributesIn("users")), [
          { attribute: "noted", owner: "notes.a", state: "orphaned" }
        ])
        assert.deepStrictEqual(yield* provided(Plugin.uninstall(notes, { namespace: "a", purge: true })), {
          objects: 0,
          orphaned: 0
        })
      })
    )

    it.effect("is refused while it is open", () =>
      Effect.gen(function* () {
        const { provided } = yield* filled
        yield* provided(Plugin.open(notes, { namespace: "a" }))
        const error = yield* Effect.flip(provided(Plugin.uninstall(notes, { namespace: "A" })))
        assert.strictEqual(error.message, 'plugin "notes" in namespace "a" is open: close its layer first')
        assert.strictEqual(yield* tagOf(Plugin.uninstall(notes, { namespace: "?" })).pipe(provided), "InvalidPlugin")
      })
    )
  })

  describe("dependencies", () => {
    const of = { name: "tester" }

    it.effect("that are missing are told with the command that installs them", () =>
      Effect.gen(function* () {
        const name = "effect-s3db-no-such-package"
        const load = () => import(/* @vite-ignore */ name as string)
        const error = yield* Effect.flip(Plugin.dependency(of, { package: name, range: "^5.4.1", load }))
        assert.strictEqual(
          error.message,
          `plugin "tester" needs ${name} ^5.4.1: it is not installed. Run: npm install "${name}@^5.4.1"`
        )
        const broken = () => Promise.reject(new Error("bad\nlines"))
        const unloadable = yield* Effect.flip(
          Plugin.dependency(of, { package: "x", range: "*", load: broken, install: "make x" })
        )
        assert.deepStrictEqual([unloadable.problem, unloadable.install], ["it could not be loaded (bad)", "make x"])
        const inner = Object.assign(new Error("Cannot find package 'y'"), { code: "ERR_MODULE_NOT_FOUND" })
        const other = yield* Effect.flip(
          Plugin.dependency(of, { package: "x", range: "*", load: () => Promise.reject(inner) })
        )
        assert.strictEqual(other.problem, "it could not be loaded (Cannot find package 'y')")
        const odd = yield* Effect.flip(
          Plugin.dependency(of, { package: "x", range: "*", load: () => Promise.reject(5) })
        )
        assert.strictEqual(odd.problem, "it could not be loaded (5)")
      })
    )

    it.effect("are given, if their version fits", () =>
      Effect.gen(function* () {
        const load = () => Promise.resolve({ version: "5.6.0" })
        const version = (module: { readonly version: string }) => module.version
        const need = (range: string) => Plugin.dependency(of, { package: "x", range, load, version })
        assert.strictEqual((yield* need("^5.4.1")).version, "5.6.0")
        const error = yield* Effect.flip(need("^4 || ~5.5"))
        assert.strictEqual(error.problem, "version 5.6.0 is installed")
      })
    )
  })
})
