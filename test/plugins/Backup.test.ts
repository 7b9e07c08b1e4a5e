/** Backups of real databases: what comes back, what they cost, what is damaged, and who may read them. */
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as Database from "effect-s3db/Database"
import * as Backup from "effect-s3db/plugins/Backup"
import * as Resource from "effect-s3db/Resource"
import { isStoreError, StoreError, Throttled } from "effect-s3db/storage/StoreError"
import { listAll, ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as TestClock from "effect/testing/TestClock"
import * as Vault from "../../src/plugins/backup/internal/vault.ts"
import { crashing, drive, keysOf, memory } from "../fixture.ts"

type Store = ObjectStore["Service"]

const people = Resource.fromAttributes(
  "people",
  {
    name: "string",
    email: "string",
    country: "string",
    card: "secret|optional",
    password: "password|optional",
    note: "string|optional"
  },
  {
    partitions: { byCountry: ["country"] },
    unique: { email: ["email"] },
    history: true,
    content: true,
    allowDeleteAll: true
  }
)

const orders = Resource.fromAttributes("orders", { person: "string", total: "number" }, { allowDeleteAll: true })

const secrets = Layer.mergeAll(
  KeyRing.layerPassphrase(Redacted.make("a passphrase of the tests"), { memory: 64, passes: 1 }),
  PasswordHasher.layerWith({ algorithm: PasswordHasher.argon2id({ memory: 64, passes: 1 }) })
)

const on = (store: Store) =>
  Layer.mergeAll(Layer.fresh(Database.layer), secrets).pipe(
    Layer.provideMerge(Layer.succeed(ObjectStore, store)),
    Layer.provideMerge(secrets)
  )

const person = (id: string, more: object = {}) => ({
  id,
  name: `Name of ${id}`,
  email: `${id}@example.org`,
  country: "BR",
  ...more
})

const opened = Effect.gen(function* () {
  return { people: yield* Resource.make(people), orders: yield* Resource.make(orders) }
})

const fill = (store: Store) =>
  Effect.gen(function* () {
    const { orders, people } = yield* opened
    for (const id of ["ana", "béa", "c/d", "..", "e%2F", "😀", "__proto__"]) yield* people.insertJson(person(id))
    yield* people.insertJson(person("sec", { card: "4111", password: "correct horse", note: "x".repeat(3000) }))
    yield* people.updateJson("ana", { country: "PT" })
    yield* people.delete("béa")
    yield* people.setContent("ana", Stream.make(new TextEncoder().encode("a picture")), { contentType: "image/png" })
    for (let at = 0; at < 20; at += 1) yield* orders.insertJson({ id: `o${at}`, person: "ana", total: at })
  }).pipe(Effect.provide(on(store)), Effect.scoped, Effect.orDie)

/** Everything that lies in a store, but for times. */
const contents = Effect.fnUntraced(function* (store: Store) {
  const all: Record<string, object> = {}
  for (const key of yield* keysOf(store)) {
    const { body, contentType, etag, metadata } = yield* store.get(key)
    all[key] = { body: Buffer.from(body).toString("base64"), contentType, etag, metadata }
  }
  return all
})

const backupsOf = (source: Store, vault: Store, keys?: KeyRing.KeyRing["Service"]) =>
  Backup.make({ source, vault, keys })

const filled = Effect.gen(function* () {
  const source = yield* memory
  yield* fill(source)
  return source
})

const change = (store: Store) =>
  Effect.gen(function* () {
    const { orders, people } = yield* opened
    yield* people.updateJson("ana", { name: "Ana Maria" })
    yield* people.delete("c/d")
    yield* orders.insertJson({ id: "new", person: "ana", total: 1 })
    yield* orders.delete("o3")
  }).pipe(Effect.provide(on(store)), Effect.scoped)

describe("Backup", () => {
  it.effect("brings a database back as it was, object by object, and it works", () =>
    Effect.gen(function* () {
      const [source, vault, target] = [yield* filled, yield* memory, yield* memory]
      const backups = yield* backupsOf(source, vault)
      const made = yield* backups.create()
      assert.isTrue(made.isInstant)
      assert.strictEqual(made.read, made.objects)
      const { lost, objects, problems } = yield* backups.verify(made.id)
      assert.deepStrictEqual({ lost, objects, problems }, { lost: 0, objects: made.objects, problems: [] })
      const plan = yield* backups.plan(made.id, { target })
      const done = yield* backups.restore(made.id, { target })
      assert.deepStrictEqual(done, plan)
      assert.deepStrictEqual(yield* contents(target), yield* contents(source))

      const found = yield* Effect.gen(function* () {
        const { orders, people } = yield* opened
        const findings = yield* Stream.runCollect((yield* people.admin).repair({ dryRun: true }))
        const content = Option.getOrThrow(yield* people.getContent("ana"))
        yield* people.insertJson(person("after"))
        const twice = yield* Effect.flip(people.insertJson(person("other", { email: "ana@example.org" })))
        return {
          findings: findings.length,
          picture: (yield* Stream.runCollect(content.bytes)).length,
          orders: yield* orders.count(),
          ids: (yield* Stream.runCollect(people.listIds())).length,
          byCountry: (yield* Stream.runCollect(people.scan({ partition: "byCountry", values: { country: "PT" } })))
            .length,
          twice: twice._tag,
          card: JSON.stringify((yield* people.get("sec")).card).includes("4111")
        }
      }).pipe(Effect.provide(on(target)), Effect.scoped)
      assert.deepStrictEqual(found, {
        findings: 0,
        picture: 1,
        orders: 20,
        ids: 8,
        byCountry: 1,
        twice: "UniqueViolation",
        card: false
      })
    })
  )

  it.effect("reads what has changed since the one before, and leaves out what has gone", () =>
    Effect.gen(function* () {
      const [source, vault, target] = [yield* filled, yield* memory, yield* memory]
      const backups = yield* backupsOf(source, vault)
      const first = yield* backups.create()
      const before = yield* contents(source)
      yield* TestClock.adjust("1 hour")
      const none = yield* backups.create()
      assert.deepInclude(none, { read: 0, removed: 0, parent: first.id, isInstant: true })
      yield* change(source)
      yield* TestClock.adjust("1 hour")
      const second = yield* backups.create()
      assert.isAtLeast(second.read, 4)
      assert.isAtMost(second.read, 12)
      assert.isAtLeast(second.removed, 2)
      // The one before may go: each is whole.
      yield* backups.remove(first.id)
      for (const [argument, given] of [
        ["grace", Number.NaN],
        ["grace", "-1 hour"],
        ["abandoned", "soon" as "1 day"]
      ] as const) {
        const { reason } = yield* Effect.flip(backups.prune({ last: 1 }, { [argument]: given }))
        assert.deepInclude(reason, { _tag: "InvalidArgument" as const, argument })
      }
      yield* backups.prune({ last: 1 }, { grace: 0, abandoned: 0 })
      assert.deepStrictEqual(
        (yield* backups.list).map(({ id }) => id),
        [second.id]
      )
      yield* backups.restore(second.id, { target })
      assert.deepStrictEqual(yield* contents(target), yield* contents(source))
      assert.notDeepEqual(yield* contents(source), before)
      assert.deepStrictEqual(yield* Effect.flip(backups.get(first.id)), new Backup.NoSuchBackup({ id: first.id }))
    })
  )

  it.effect("knows an object again whose time a GET tells in whole seconds, and a LIST does not", () =>
    Effect.gen(function* () {
      const [inner, vault] = [yield* filled, yield* memory]
      const source: Store = {
        ...inner,
        list: (request) =>
          Effect.map(inner.list(request), (page) => ({
            ...page,
            entries: page.entries.map((entry) => ({ ...entry, lastModified: entry.lastModified! + 234 }))
          }))
      }
      const backups = yield* backupsOf(source, vault)
      assert.isTrue((yield* backups.create()).isInstant)
      yield* TestClock.adjust("1 hour")
      assert.deepInclude(yield* backups.create(), { read: 0, isInstant: true })
    })
  )

  it.effect("comes back into a database that is there: merge, skip and replace do as they plan", () =>
    Effect.gen(function* () {
      for (const mode of ["merge", "skip", "replace"] as const) {
        const [source, vault] = [yield* filled, yield* memory]
        const backups = yield* backupsOf(source, vault)
        const { id } = yield* backups.create()
        const before = yield* contents(source)
        yield* change(source)
        const changed = yield* contents(source)
        const refused = yield* Effect.flip(backups.restore(id))
        assert.strictEqual(refused._tag, "TargetNotEmpty")
        assert.deepStrictEqual(yield* contents(source), changed)
        const plan = yield* backups.plan(id, { mode })
        assert.deepStrictEqual(yield* contents(source), changed)
        assert.deepStrictEqual(yield* backups.restore(id, { mode }), plan)
        const after = yield* contents(source)
        if (mode === "replace") assert.deepStrictEqual(after, before)
        const own = (all: Record<string, object>) => Object.keys(all).filter((key) => !key.startsWith("s3db.json"))
        for (const key of own(changed)) {
          if (mode === "merge") assert.deepStrictEqual(after[key], before[key] ?? changed[key], key)
          if (mode === "skip") assert.deepStrictEqual(after[key], changed[key], key)
        }
        if (mode !== "skip") for (const key of own(before)) assert.deepStrictEqual(after[key], before[key], key)
        if (mode === "merge") assert.isAbove(plan.overwritten, 0)
        if (mode === "skip") assert.isAbove(plan.kept, 0)
        if (mode === "replace") assert.isAbove(plan.removed, 0)
        assert.deepInclude(yield* backups.plan(id, { mode: "replace" }), { created: mode === "replace" ? 0 : 0 })
      }
    })
  )

  it.effect("removes as it goes, however much lies between two of its objects, and after the last", () =>
    Effect.gen(function* () {
      const [source, vault, target] = [yield* filled, yield* memory, yield* memory]
      const backups = yield* backupsOf(source, vault)
      const { id } = yield* backups.create()
      for (let at = 0; at < 5000; at += 1) {
        yield* target.put({ key: `resource=orders/data/id=o1${at}x`, body: new Uint8Array([1]) })
        if (at < 2500) yield* target.put({ key: `resource=people/zzz/${at}`, body: new Uint8Array([1]) })
      }
      let [listed, known, most] = [0, 0, 0]
      const counting: Store = {
        ...target,
        list: (request) =>
          Effect.tap(target.list(request), ({ entries }) => {
            listed += entries.length
            known += entries.length
            most = Math.max(most, known)
            return Effect.void
          }),
        deleteMany: (keys, options) => {
          known -= keys.length
          return target.deleteMany(keys, options)
        }
      }
      const plan = yield* backups.plan(id, { target, mode: "replace" })
      assert.strictEqual(plan.removed, 7500)
      assert.deepStrictEqual(yield* backups.restore(id, { target: counting, mode: "replace" }), plan)
      assert.deepStrictEqual(yield* contents(target), yield* contents(source))
      assert.isAtLeast(listed, 7500)
      assert.isAtMost(most, 4000)
    })
  )

  it.effect("is not put beside documents of another database", () =>
    Effect.gen(function* () {
      const [source, vault, other] = [yield* filled, yield* memory, yield* filled]
      const backups = yield* backupsOf(source, vault)
      const { id } = yield* backups.create()
      const before = yield* contents(other)
      for (const mode of ["merge", "skip"] as const) {
        assert.strictEqual((yield* Effect.flip(backups.restore(id, { target: other, mode })))._tag, "OtherDatabase")
        assert.strictEqual(
          (yield* Effect.flip(backups.plan(id, { target: yield* memory, mode })))._tag,
          "OtherDatabase"
        )
      }
      assert.deepStrictEqual(yield* contents(other), before)
      yield* backups.restore(id, { target: other, mode: "replace" })
      assert.deepStrictEqual(yield* contents(other), yield* contents(source))
    })
  )

  it.effect("of some resources has those, and replaces those alone", () =>
    Effect.gen(function* () {
      const [source, vault, target] = [yield* filled, yield* memory, yield* memory]
      const backups = yield* backupsOf(source, vault)
      const some = yield* backups.create({ resources: ["orders"] })
      yield* backups.restore(some.id, { target })
      const keys = yield* keysOf(target)
      assert.isTrue(
        keys.every((key) => key.startsWith("resource=orders/") || key.startsWith("s3db.json")),
        keys.join(" ")
      )
      assert.strictEqual(keys.filter((key) => key.startsWith("resource=orders/data/")).length, 20)
      // The other selection takes nothing over, and nothing of it is missing.
      const rest = yield* backups.create({ exclude: ["orders"] })
      assert.isUndefined(rest.parent)
      const people = yield* keysOf(source, "resource=people/")
      yield* change(source)
      yield* backups.restore(rest.id, { mode: "replace" })
      assert.deepStrictEqual(yield* keysOf(source, "resource=people/"), people)
      assert.include(yield* keysOf(source, "resource=orders/"), "resource=orders/data/id=new")
      const refused = yield* Effect.flip(backups.restore(rest.id, { target, mode: "replace", resources: ["orders"] }))
      assert.isTrue(isStoreError(refused) && refused.reason._tag === "InvalidArgument")
    })
  )

  it.effect("says whether it is of one instant, and looks again where programs have written", () =>
    Effect.gen(function* () {
      const [source, vault] = [yield* filled, yield* memory]
      let writes = 0
      let most = 3
      const busy: Store = {
        ...source,
        list: (request) =>
          Effect.suspend(() => {
            writes += 1
            const put = source.put({ key: "resource=orders/data/id=o1", body: new Uint8Array([writes]) })
            return Effect.andThen(writes > most ? Effect.void : put, source.list(request))
          })
      }
      const backups = yield* backupsOf(busy, vault)
      const settled = yield* backups.create({ passes: 10 })
      assert.isTrue(settled.isInstant)
      assert.strictEqual(settled.read, settled.objects + 2)
      most = Number.POSITIVE_INFINITY
      assert.isFalse((yield* backups.create({ passes: 2 })).isInstant)
      const refused = yield* Effect.flip(backups.create({ instant: true, passes: 3 }))
      assert.deepStrictEqual(refused, new Backup.NotInstant({ passes: 3, changes: 1 }))
      assert.strictEqual((yield* backups.list).length, 2)
    })
  )

  it.effect("is sealed where there are keys: nothing of it can be read or put in its place without", () =>
    Effect.gen(function* () {
      const [source, vault, target] = [yield* filled, yield* memory, yield* memory]
      const keysOfPassphrase = (text: string) =>
        Effect.map(Layer.build(KeyRing.layerPassphrase(Redacted.make(text), { memory: 64, passes: 1 })), (context) =>
          Effect.provideContext(KeyRing.KeyRing, context)
        ).pipe(Effect.flatten)
      const keys = yield* keysOfPassphrase("a passphrase of backups")
      const backups = yield* backupsOf(source, vault, keys)
      const { id } = yield* backups.create()
      const all = JSON.stringify(
        yield* Effect.map(contents(vault), (found) =>
          Object.values(found).map((one) => Buffer.from((one as { body: string }).body, "base64").toString("latin1"))
        )
      )
      for (const text of ["resource=", "example.org", "Name of"]) assert.notInclude(all, text)
      const open = yield* Effect.flip(backupsOf(source, vault))
      assert.isTrue(isStoreError(open) && open.reason._tag === "AccessDenied")
      const other = yield* backupsOf(source, vault, yield* keysOfPassphrase("another one"))
      assert.isTrue(isStoreError(yield* Effect.flip(other.restore(id, { target }))))
      assert.deepStrictEqual(yield* keysOf(target), [])
      yield* backups.restore(id, { target })
      assert.deepStrictEqual(yield* contents(target), yield* contents(source))
      // An open vault does not take sealed backups.
      const plain = yield* memory
      yield* backupsOf(source, plain)
      const refused = yield* Effect.flip(backupsOf(source, plain, keys))
      assert.isTrue(isStoreError(refused) && refused.reason._tag === "AccessDenied")
    }).pipe(Effect.scoped)
  )

  it.effect("that is damaged anywhere is told, and nothing of it is restored", () =>
    Effect.gen(function* () {
      const [source, vault] = [yield* filled, yield* memory]
      const backups = yield* backupsOf(source, vault)
      const { id, objects } = yield* backups.create()
      for (const key of (yield* keysOf(vault)).filter((key) => /^(packs|indexes)\//.test(key))) {
        const { body } = yield* vault.get(key)
        const damages: ReadonlyArray<Uint8Array | undefined> = [
          undefined,
          body.slice(0, -1),
          new Uint8Array(),
          ...[0, 5, 20, Math.floor(body.length / 2), body.length - 1].map((at) => {
            const altered = body.slice()
            altered[at]! ^= 1
            return altered
          })
        ]
        for (const damaged of damages) {
          const target = yield* memory
          if (damaged === undefined) yield* vault.delete(key)
          else yield* vault.put({ key, body: damaged })
          const { lost, problems } = yield* backups.verify(id)
          assert.strictEqual(problems.length, 1)
          assert.strictEqual(problems[0]!.key, key)
          assert.isAbove(lost, 0)
          assert.isAtMost(lost, objects)
          const refused = yield* Effect.flip(backups.restore(id, { target, mode: "replace" }))
          assert.strictEqual(refused._tag, "BackupDamaged")
          assert.include(refused.message, key)
          assert.deepStrictEqual(yield* keysOf(target), [])
          // What is found damaged while it is put is told in the same way, and there is no database.
          assert.strictEqual((yield* Effect.flip(backups.restore(id, { target })))._tag, "BackupDamaged")
          assert.notInclude(yield* keysOf(target), "s3db.json")
        }
        yield* vault.put({ key, body })
      }
      const key = `snapshots/${id}`
      const { body } = yield* vault.get(key)
      yield* vault.put({ key, body: body.slice(0, 40) })
      for (const effect of [backups.list, backups.get(id), backups.verify(id), backups.prune({ last: 1 })]) {
        const error: unknown = yield* Effect.flip(effect as Effect.Effect<unknown, unknown>)
        assert.isTrue(isStoreError(error) && error.reason._tag === "Corrupt")
      }
      // It keeps nobody from taking another backup.
      yield* TestClock.adjust("1 hour")
      const another = yield* backups.create()
      assert.deepStrictEqual([another.parent, another.read], [undefined, objects])
      // The manifest of another under its name.
      yield* vault.put({ key, body })
      const renamed = "20260101T000000000Z-aaaaaaaa"
      yield* vault.put({ key: `snapshots/${renamed}`, body })
      assert.isTrue(isStoreError(yield* Effect.flip(backups.get(renamed))))
      yield* backups.remove(renamed)
      assert.deepStrictEqual(
        (yield* backups.list).map((one) => one.id),
        [id, another.id]
      )
    })
  )

  it.effect("takes no hostile id, and no foreign object for a backup", () =>
    Effect.gen(function* () {
      const [source, vault] = [yield* filled, yield* memory]
      const backups = yield* backupsOf(source, vault)
      yield* vault.put({ key: "snapshots/readme.txt", body: new Uint8Array([1]) })
      yield* vault.put({ key: "other", body: new Uint8Array([1]) })
      const { id } = yield* backups.create()
      assert.deepStrictEqual(
        (yield* backups.list).map((one) => one.id),
        [id]
      )
      for (const hostile of ["", "../vault", "__proto__", `${id}/`, "vault", "readme.txt", "a".repeat(2000)]) {
        assert.strictEqual((yield* Effect.flip(backups.restore(hostile)))._tag, "NoSuchBackup")
        assert.strictEqual((yield* Effect.flip(backups.remove(hostile)))._tag, "NoSuchBackup")
      }
      yield* backups.prune({ last: 1 }, { grace: 0, abandoned: 0 })
      assert.includeMembers(yield* keysOf(vault), ["other", "snapshots/readme.txt"])
      for (const options of [{ passes: 0 }, { passes: 1.5 }, { concurrency: 0 }]) {
        const refused = yield* Effect.flip(backups.create(options))
        assert.isTrue(isStoreError(refused) && refused.reason._tag === "InvalidArgument")
      }
      for (const policy of [{ daily: -1 }, { last: 0.5 }, { timeZone: "Nowhere/None" }]) {
        const refused = yield* Effect.flip(backups.prune(policy))
        assert.isTrue(refused.reason._tag === "InvalidArgument")
      }
    })
  )

  it.effect("what is no part of the database is not in it; what plugins keep is, where that is wanted", () =>
    Effect.gen(function* () {
      const [source, vault, target] = [yield* filled, yield* memory, yield* memory]
      for (const key of [
        "readme.txt",
        "other/x",
        "plugin=queue/1",
        "resource=orders/plugin=search/1",
        "s3db-clock/x"
      ]) {
        yield* source.put({ key, body: new Uint8Array([1]) })
      }
      const backups = yield* backupsOf(source, vault)
      const without = yield* backups.create()
      yield* backups.restore(without.id, { target })
      const plain = yield* keysOf(target)
      for (const text of ["readme", "other/", "plugin=", "clock"]) assert.notInclude(plain.join(" "), text)
      const all = yield* backups.create({ plugins: true })
      yield* backups.restore(all.id, { target, mode: "replace" })
      const more = yield* keysOf(target)
      assert.sameMembers(more, [...plain, "plugin=queue/1", "resource=orders/plugin=search/1"])
      // What plugins know of documents that are replaced is no more.
      const { removed } = yield* backups.restore(without.id, { target, mode: "replace" })
      assert.strictEqual(removed, 2)
      assert.sameMembers(yield* keysOf(target), plain)
    })
  )
})

describe("a vault of several databases", () => {
  it.effect("prunes those of each by themselves", () =>
    Effect.gen(function* () {
      const vault = yield* memory
      const of = (name: string) => Effect.map(filled, (store) => ({ ...store, location: `memory://${name}` }))
      const [one, other] = [yield* backupsOf(yield* of("one"), vault), yield* backupsOf(yield* of("other"), vault)]
      const made = [yield* one.create(), yield* other.create(), yield* one.create({ exclude: ["orders"] })]
      assert.deepStrictEqual(
        made.map(({ parent }) => parent),
        [undefined, undefined, undefined]
      )
      yield* TestClock.adjust("1 hour")
      const last = [yield* one.create(), yield* other.create()]
      const { dropped, kept } = yield* one.prune({ last: 1 }, { grace: 0, abandoned: 0 })
      assert.sameMembers([...dropped], [made[0]!.id, made[1]!.id])
      assert.sameMembers([...kept], [made[2]!.id, ...last.map(({ id }) => id)])
      for (const id of kept) assert.deepStrictEqual((yield* other.verify(id)).problems, [])
    })
  )
})

describe("several vaults", () => {
  it.effect("have a backup each: all, any, or the first that can", () =>
    Effect.gen(function* () {
      const source = yield* filled
      const good = yield* backupsOf(source, yield* memory)
      const full = yield* memory
      const bad = yield* backupsOf(source, full)
      const reason = new Throttled({ description: "slow down" })
      const broken = { ...bad, create: () => Effect.fail(new StoreError({ operation: "put", reason })) }
      const tags = (results: ReadonlyArray<Result.Result<unknown, unknown>>) => results.map(({ _tag }) => _tag)
      assert.deepStrictEqual(tags(yield* Backup.createAll([good, bad])), ["Success", "Success"])
      assert.strictEqual((yield* Effect.flip(Backup.createAll([broken, good])))._tag, "StoreError")
      assert.strictEqual((yield* good.list).length, 2)
      assert.deepStrictEqual(tags(yield* Backup.createAll([broken, good], { strategy: "any" })), ["Failure", "Success"])
      const priority = { strategy: "priority" } as const
      assert.deepStrictEqual(tags(yield* Backup.createAll([good, bad], priority)), ["Success"])
      assert.deepStrictEqual(tags(yield* Backup.createAll([broken, good], priority)), ["Failure", "Success"])
      assert.strictEqual(
        (yield* Effect.flip(Backup.createAll([broken, broken], { strategy: "any" })))._tag,
        "StoreError"
      )
    })
  )
})

describe("Backup under crashes", () => {
  it.effect("one that is killed at any request is not there, and the next one is whole", () =>
    Effect.gen(function* () {
      const source = yield* filled
      const expected = yield* contents(source)
      for (const which of ["vault", "source"] as const) {
        for (const when of ["before", "after"] as const) {
          for (let at = 1; ; at += 1) {
            const vault = yield* memory
            const crash = crashing(which === "vault" ? vault : source, at, when)
            const first = yield* Effect.exit(
              Effect.flatMap(
                which === "vault" ? backupsOf(source, crash.store) : backupsOf(crash.store, vault),
                (backups) => backups.create()
              )
            )
            const backups = yield* backupsOf(source, vault)
            const there = yield* backups.list
            const { id } = yield* backups.create()
            for (const one of [...there.map((one) => one.id), id]) {
              const target = yield* memory
              yield* backups.restore(one, { target })
              assert.deepStrictEqual(yield* contents(target), expected, `${which} ${when} ${at}`)
            }
            if (first._tag === "Success") {
              assert.isAbove(at, which === "vault" ? 8 : 20)
              break
            }
          }
        }
      }
    })
  )

  it.effect("a restoration that is killed at any request goes on, and ends right", () =>
    Effect.gen(function* () {
      const [source, vault] = [yield* filled, yield* memory]
      const backups = yield* backupsOf(source, vault)
      const { id } = yield* backups.create()
      const expected = yield* contents(source)
      yield* change(source)
      const changed = yield* contents(source)
      const copyOf = Effect.fnUntraced(function* (store: Store) {
        const copy = yield* memory
        for (const key of yield* keysOf(store)) {
          const { body, contentType, metadata } = yield* store.get(key)
          yield* copy.put({ key, body, contentType, metadata })
        }
        return copy
      })
      for (const mode of ["empty", "replace", "merge"] as const) {
        for (const when of ["before", "after"] as const) {
          for (let at = 1; ; at += 3) {
            const target = mode === "empty" ? yield* memory : yield* copyOf(source)
            const crash = crashing(target, at, when)
            const first = yield* Effect.exit(backups.restore(id, { target: crash.store, mode, verify: false }))
            if (first._tag === "Failure" && (yield* keysOf(target)).includes("s3db-restore.json")) {
              // Nobody else begins another meanwhile.
              const other = mode === "merge" ? "skip" : "merge"
              const refused = yield* Effect.flip(backups.restore(id, { target, mode: other }))
              assert.strictEqual(refused._tag, "RestoreUnderWay")
              // The catalog comes last.
              const there = yield* contents(target)
              if (mode !== "merge" && there["s3db.json"] !== undefined) {
                if (there["s3db.json.backup"] !== undefined) delete there["s3db-restore.json"]
                if (mode === "empty") assert.deepStrictEqual(there, expected)
              }
            }
            yield* backups.restore(id, { target, mode, verify: false })
            const after = yield* contents(target)
            if (mode === "merge") {
              for (const key of Object.keys(expected)) {
                if (!key.startsWith("s3db.json"))
                  assert.deepStrictEqual(after[key], expected[key], `${when} ${at} ${key}`)
              }
              assert.deepStrictEqual(after["s3db.json"], changed["s3db.json"])
            } else assert.deepStrictEqual(after, expected, `${mode} ${when} ${at}`)
            if (first._tag === "Success") break
          }
        }
      }
    })
  )

  it.effect("one that was killed at its very end is at its end when it is begun again, and nothing else is", () =>
    Effect.gen(function* () {
      const [source, vault, target] = [yield* filled, yield* memory, yield* memory]
      const backups = yield* backupsOf(source, vault)
      const made = yield* backups.create()
      yield* backups.restore(made.id, { target })
      const nothing = { mode: "empty", created: 0, overwritten: 0, kept: 0, removed: 0, bytes: 0 } as const
      const unchanged = made.objects - 2
      assert.deepStrictEqual(yield* backups.plan(made.id, { target }), { ...nothing, unchanged })
      // A store that has other ETags, and lets nobody write.
      const denied = () => Effect.die("it is written to")
      const other: Store = {
        ...target,
        put: denied,
        delete: denied,
        deleteMany: denied,
        list: (request) =>
          Effect.map(target.list(request), (page) => ({
            ...page,
            entries: page.entries.map((entry) => ({ ...entry, etag: `other ${entry.etag}` }))
          }))
      }
      assert.deepStrictEqual(yield* backups.restore(made.id, { target: other }), { ...nothing, unchanged })
      const key = "resource=orders/data/id=o1"
      const object = yield* target.get(key)
      const ofMetadata = target.put({ ...object, metadata: { ...object.metadata, x: "y" } })
      const changes: ReadonlyArray<Effect.Effect<unknown, StoreError>> = [
        target.delete(key),
        ofMetadata,
        target.put({ ...object, body: object.body.map((byte) => byte ^ 1) }),
        target.put({ key: "resource=orders/data/id=another", body: object.body }),
        target.delete("s3db.json")
      ]
      for (const change of changes) {
        yield* change
        // Every write of a document has bytes of its own, and so an ETag: its metadata are looked at where that tells nothing.
        for (const store of change === ofMetadata ? [other] : [target, other]) {
          const refused = yield* Effect.flip(backups.restore(made.id, { target: store }))
          assert.strictEqual(refused._tag, "TargetNotEmpty")
        }
        yield* target.delete("resource=orders/data/id=another")
        yield* target.put(object)
      }
    })
  )

  it.effect("one that is pruned while it is restored comes back whole, or not at all", () =>
    Effect.gen(function* () {
      const source = yield* filled
      const another = yield* filled
      const expected = yield* contents(source)
      let [whole, refusals] = [0, 0]
      for (let at = 1; ; at += 1) {
        const [vault, target] = [yield* memory, yield* memory]
        const backups = yield* backupsOf(source, vault)
        const { id } = yield* backups.create()
        yield* TestClock.adjust("1 hour")
        // Shares no pack with the other.
        yield* (yield* backupsOf(another, vault)).create({ exclude: ["orders"] })
        yield* TestClock.adjust("1 hour")
        let requests = 0
        const meanwhile = <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.suspend(() => {
            requests += 1
            const pruning = backups
              .remove(id)
              .pipe(Effect.andThen(backups.prune({ last: 1 }, { grace: 0, abandoned: "1 day" })), Effect.orDie)
            return requests === at ? Effect.andThen(pruning, effect) : effect
          })
        const store: Store = {
          ...vault,
          get: (key, options) => meanwhile(vault.get(key, options)),
          put: (request) => meanwhile(vault.put(request)),
          list: (request) => meanwhile(vault.list(request))
        }
        const opened = yield* backupsOf(source, store)
        const done = yield* Effect.result(opened.restore(id, { target }))
        if (done._tag === "Failure") {
          assert.strictEqual(done.failure._tag, "NoSuchBackup", `${at}: ${done.failure.message}`)
          assert.deepStrictEqual(yield* keysOf(target), [])
          refusals += 1
        } else {
          assert.deepStrictEqual(yield* contents(target), expected, `${at}`)
          whole += 1
        }
        if (requests < at) break
      }
      assert.isAbove(whole, 3)
      assert.isAbove(refusals, 0)
    })
  )

  it.effect("what a restoration that was killed has left is no backup that was begun, to no release", () =>
    Effect.gen(function* () {
      const [source, vault] = [yield* filled, yield* memory]
      const backups = yield* backupsOf(source, vault)
      const { id } = yield* backups.create()
      yield* TestClock.adjust("1 hour")
      // Its note is there, and nothing of it can be taken away.
      const store: Store = { ...vault, delete: () => Effect.interrupt }
      yield* Effect.exit((yield* backupsOf(source, store)).restore(id, { target: yield* memory }))
      const [note] = yield* Vault.unfinished(yield* Vault.open(vault, {}))
      assert.strictEqual(note?.state.parent, id)
      // Any release goes on with a backup that was begun, of the same source.
      assert.notStrictEqual(note?.state.source, source.location)
      yield* source.delete("resource=orders/data/id=o1")
      yield* TestClock.adjust("1 hour")
      const next = yield* backups.create()
      const target = yield* memory
      yield* backups.restore(next.id, { target })
      assert.deepStrictEqual(yield* contents(target), yield* contents(source))
    })
  )

  it.effect("what is pruned while a backup is taken is not what it uses", () =>
    Effect.gen(function* () {
      const source = yield* filled
      const count = Effect.fnUntraced(function* (vault: Store, at: number) {
        let requests = 0
        const pruned = yield* backupsOf(source, vault)
        const meanwhile = <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.suspend(() => {
            requests += 1
            return requests === at
              ? Effect.andThen(Effect.orDie(pruned.prune({ last: 1 }, { grace: 0, abandoned: "1 day" })), effect)
              : effect
          })
        const store: Store = {
          ...vault,
          get: (key, options) => meanwhile(vault.get(key, options)),
          head: (key) => meanwhile(vault.head(key)),
          put: (request) => meanwhile(vault.put(request)),
          list: (request) => meanwhile(vault.list(request)),
          delete: (key, options) => meanwhile(vault.delete(key, options))
        }
        const made = yield* Effect.result(Effect.flatMap(backupsOf(source, store), (backups) => backups.create()))
        return { made, requests }
      })
      for (let at = 1; ; at += 1) {
        const vault = yield* memory
        const before = yield* backupsOf(source, vault)
        yield* before.create()
        yield* change2(source, at)
        yield* TestClock.adjust("1 hour")
        yield* before.create()
        yield* TestClock.adjust("1 hour")
        const { made, requests } = yield* count(vault, at)
        // With no grace at all packs that nobody names yet are removed: then it says so.
        if (made._tag === "Failure") assert.strictEqual(made.failure._tag, "BackupLost", String(at))
        for (const { id } of yield* before.list) {
          const { problems } = yield* before.verify(id)
          assert.deepStrictEqual(problems, [], `${at}: ${id}`)
        }
        if (requests < at) break
      }
    })
  )
})

const accounts = Resource.fromAttributes("accounts", { balance: "number" })
const ledger = Resource.fromAttributes("ledger", { balance: "number" }, { history: true, allowDeleteAll: true })

/** A bank whose customers transfer money at random, and of whom some crash within. */
const bank = Effect.fnUntraced(function* (seed: number, resource: typeof accounts) {
  let state = seed * 16_807_001
  // Lehmer's generator, as of Park and Miller (1988).
  const chance = () => (state = (state * 48271) % 2147483647) / 2147483647
  const source = yield* memory
  const ids = ["a", "b", "c", "d"]
  const opening = <A, E, R>(store: Store, effect: Effect.Effect<A, E, R>) =>
    effect.pipe(Effect.provide(on(store)), Effect.scoped)
  yield* opening(
    source,
    Effect.gen(function* () {
      const repository = yield* Resource.make(resource)
      for (const id of ids) yield* repository.insertJson({ id, balance: 100 })
    })
  )
  const transfer = (store: Store) =>
    opening(
      store,
      Effect.gen(function* () {
        const database = yield* Database.Database
        const repository = yield* Resource.make(resource)
        const [from, to] = [ids[Math.floor(chance() * 4)]!, ids[Math.floor(chance() * 4)]!]
        if (from === to) return
        yield* database.transaction(
          Effect.gen(function* () {
            const { balance: left } = (yield* repository.get(from)) as { balance: number }
            const { balance: right } = (yield* repository.get(to)) as { balance: number }
            yield* repository.updateJson(from, { balance: left - 1 })
            yield* repository.updateJson(to, { balance: right + 1 })
          })
        )
      })
    )
  const transferred = Effect.gen(function* () {
    const crash = chance() < 0.5 ? crashing(source, 4 + Math.floor(chance() * 30), "after").store : source
    // Who meets the intent of one that has crashed waits for it.
    return yield* drive(yield* Effect.forkChild(Effect.exit(transfer(crash))))
  })
  const balances = (store: Store) =>
    opening(
      store,
      Effect.gen(function* () {
        const all = yield* Stream.runCollect((yield* Resource.make(resource)).scan())
        return Object.fromEntries(all.map((one) => [one.id, (one as { balance: number }).balance]))
      })
    )
  const settle = (store: Store, options: { readonly graceMillis?: number } = {}) =>
    opening(
      store,
      Effect.gen(function* () {
        const database = yield* Database.Database
        yield* Stream.runDrain(database.repairTransactions({ dryRun: false, ...options }))
      })
    )
  return { balances, chance, opening, settle, source, transferred }
})

const sumOf = (balances: Record<string, number>) => Object.values(balances).reduce((sum, one) => sum + one, 0)

describe("transactions in a backup", () => {
  it.effect("are in one of an instant whole or not at all, also those that a crash has left", () =>
    Effect.gen(function* () {
      let [instants, others] = [0, 0]
      for (let seed = 1; seed <= 40; seed += 1) {
        const { balances, chance, settle, source, transferred } = yield* bank(seed, accounts)
        const [vault, target] = [yield* memory, yield* memory]
        let left = 4
        const disturbed = <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.suspend(() => {
            if (left === 0 || chance() > 0.4) return effect
            left -= 1
            return Effect.andThen(transferred, effect)
          })
        const busy: Store = {
          ...source,
          get: (key, options) => disturbed(source.get(key, options)),
          list: (request) => disturbed(source.list(request))
        }
        const backups = yield* backupsOf(busy, vault)
        const passes = 1 + Math.floor(chance() * 5)
        const { id, isInstant } = yield* backups.create({ passes, concurrency: 3 })
        if (!isInstant) {
          others += 1
          continue
        }
        instants += 1
        yield* backups.restore(id, { target })
        yield* settle(target, { graceMillis: 0 })
        assert.strictEqual(sumOf(yield* balances(target)), 400, `seed ${seed}`)
      }
      assert.isAbove(instants, 10)
      assert.isAbove(others, 3)
    })
  )

  it.effect("are whole in one that was taken while nobody ever stopped writing, once it is rewound to before it", () =>
    Effect.gen(function* () {
      let moving = 0
      for (let seed = 1; seed <= 25; seed += 1) {
        const { balances, chance, opening, settle, source, transferred } = yield* bank(seed, ledger)
        const [vault, target] = [yield* memory, yield* memory]
        yield* transferred
        yield* transferred
        yield* TestClock.adjust("20 minutes")
        // No transaction is under way that began before this.
        yield* settle(source)
        const time = yield* DateTime.now
        const expected = yield* balances(source)
        yield* TestClock.adjust("1 second")
        const disturbed = <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.suspend(() => (chance() > 0.5 ? effect : Effect.andThen(transferred, effect)))
        const busy: Store = {
          ...source,
          get: (key, options) => disturbed(source.get(key, options)),
          list: (request) => Effect.andThen(transferred, disturbed(source.list(request)))
        }
        const backups = yield* backupsOf(busy, vault)
        const made = yield* backups.create({ passes: 1 + (seed % 3), concurrency: 3 })
        assert.isTrue(made.isRewindable)
        if (made.isInstant) continue
        yield* backups.restore(made.id, { target })
        yield* settle(target, { graceMillis: 0 })
        if (JSON.stringify(yield* balances(target)) !== JSON.stringify(expected)) moving += 1
        const outcomes = yield* opening(target, Stream.runCollect(Backup.rewind({ resources: ["ledger"], time })))
        assert.notInclude(
          outcomes.map(({ outcome }) => outcome),
          "Failed"
        )
        assert.deepStrictEqual(yield* balances(target), expected, `seed ${seed}`)
        assert.strictEqual(sumOf(expected), 400)
      }
      assert.isAbove(moving, 10)
    })
  )
})

/** Two objects change, so that no two backups are the same. */
const change2 = (store: Store, round: number) =>
  Effect.forEach(["o1", "o2"], (id) =>
    store.put({ key: `resource=orders/data/id=${id}`, body: new TextEncoder().encode(`${id} ${round}`) })
  )

describe("requests of a backup", () => {
  it.effect("are a LIST for each 1,000 objects and pass, a GET for each that has changed, and few in the vault", () =>
    Effect.gen(function* () {
      const [source, vault] = [yield* memory, yield* memory]
      yield* source.put({ key: "s3db.json", body: new TextEncoder().encode('{"version":"1","resources":{}}') })
      for (let at = 0; at < 2500; at += 1) {
        yield* source.put({ key: `resource=r/data/id=${at}`, body: new TextEncoder().encode(`{"w":"${at}"}`) })
      }
      const counted = (store: Store) => {
        const requests: Record<string, number> = {}
        const counting = <A, E>(name: string, effect: Effect.Effect<A, E>) =>
          Effect.suspend(() => {
            requests[name] = (requests[name] ?? 0) + 1
            return effect
          })
        const counted: Store = {
          ...store,
          get: (key, options) => counting("get", store.get(key, options)),
          head: (key) => counting("head", store.head(key)),
          put: (request) => counting("put", store.put(request)),
          list: (request) => counting("list", store.list(request)),
          delete: (key, options) => counting("delete", store.delete(key, options)),
          deleteMany: (keys, options) => counting("deleteMany", store.deleteMany(keys, options))
        }
        return {
          store: counted,
          take: () => ({
            ...requests,
            ...((): object => (Object.keys(requests).forEach((key) => delete requests[key]), {}))()
          })
        }
      }
      const [from, to] = [counted(source), counted(vault)]
      const backups = yield* backupsOf(from.store, to.store)
      to.take()
      yield* backups.create()
      // Two passes: the second sees that nothing has changed.
      assert.deepStrictEqual(from.take(), { list: 6, get: 2502 })
      const first = to.take() as Record<string, number>
      assert.isAtMost(first["put"]!, 1 + 3 + 6)
      yield* source.put({ key: "resource=r/data/id=7", body: new TextEncoder().encode("changed") })
      yield* TestClock.adjust("1 second")
      yield* backups.create()
      assert.deepStrictEqual(from.take(), { list: 6, get: 2 })
      const second = to.take() as Record<string, number>
      // What is under way, twice more at the ends of the passes, one pack, one index, the manifest.
      assert.isAtMost(second["put"]!, 6)
      yield* TestClock.adjust("1 second")
      yield* backups.create()
      assert.deepStrictEqual(from.take(), { list: 3, get: 1 })
      assert.isAtMost((to.take() as Record<string, number>)["put"]!, 3)
      const target = yield* memory
      const into = counted(target)
      const [last] = (yield* backups.list).toReversed()
      yield* backups.restore(last!.id, { target: into.store })
      assert.deepStrictEqual(into.take(), { get: 1, list: 2, put: 2502, delete: 1 })
      assert.strictEqual((yield* Stream.runCollect(listAll(target, { prefix: "" }))).length, 2501)
    })
  )
})
