/** What the primitives of the kernel must hold on every store, when many use them at once. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Order from "effect/Order"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AppendLog from "effect-s3db/kernel/AppendLog"
import * as Checkpoint from "effect-s3db/kernel/Checkpoint"
import * as Consumer from "effect-s3db/kernel/Consumer"
import * as CreateOnce from "effect-s3db/kernel/CreateOnce"
import * as Fenced from "effect-s3db/kernel/Fenced"
import * as Lease from "effect-s3db/kernel/Lease"
import * as ListingDifference from "effect-s3db/kernel/ListingDifference"
import * as PackedObjects from "effect-s3db/kernel/PackedObjects"
import * as PluginStore from "effect-s3db/kernel/PluginStore"
import * as Segments from "effect-s3db/kernel/Segments"
import * as Sequence from "effect-s3db/kernel/Sequence"
import * as TimeIndex from "effect-s3db/kernel/TimeIndex"
import * as FileStore from "effect-s3db/storage/FileStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"

type Store = ObjectStore["Service"]

const Log = Schema.Array(Schema.Struct({ token: Schema.Int, by: Schema.String }))
type Log = typeof Log.Type

export const leaseOf = (store: Store) => Lease.make(store, { key: "lease", duration: "600 millis" })
export const logOf = (store: Store) => Fenced.make(store, { key: "log", schema: Log, what: "a log" })
export const numberOf = (store: Store) => Fenced.make(store, { key: "number", schema: Schema.Int, what: "a number" })

export const entriesOf = (store: Store) =>
  AppendLog.make(store, { prefix: "entries", schema: Schema.String, segmentEntries: 10 })

const range = (length: number) => Array.from({ length }, (_, i) => i)

/** Tokens never fall, and each is that of one. */
const checkLog = (log: Log): void => {
  assert.isTrue(log.every(({ token }, i) => i === 0 || log[i - 1]!.token <= token))
  for (const entries of Map.groupBy(log, ({ token }) => token).values()) {
    assert.strictEqual(new Set(entries.map(({ by }) => by)).size, 1)
  }
}

/** Registers the suite of a store. Each test opens one of its own, in which nothing is. */
export const suite = (name: string, open: Effect.Effect<Store, unknown, Scope.Scope>): void => {
  describe(`the kernel on ${name}`, () => {
    it.live("100 changes at once are 100, of which the last fenced out change nothing", () =>
      Effect.gen(function* () {
        const store = yield* open
        const clients = yield* Effect.forEach(range(4), () => numberOf(store).claim(1))
        yield* Effect.forEach(range(100), (i) => clients[i % 4]!.modify((n = 0) => Effect.succeed(n + 1)), {
          concurrency: "unbounded"
        })
        yield* numberOf(store).claim(2)
        for (const client of clients) {
          const error = yield* Effect.flip(client.modify((n = 0) => Effect.succeed(n + 1)))
          assert.strictEqual(error._tag, "LeaseLost")
        }
        assert.deepStrictEqual(yield* numberOf(store).read, Option.some(100))
      })
    )

    it.live("four lead in turn, and what they write is in the order of their tokens", () =>
      Effect.gen(function* () {
        const store = yield* open
        const terms = (by: string) =>
          Effect.forEach(range(2), () =>
            leaseOf(store)
              .runWhileLeader(
                Effect.fnUntraced(function* ({ token }) {
                  const mine = yield* logOf(store).claim(token)
                  for (const _ of range(2)) yield* mine.modify((log = []) => Effect.succeed([...log, { token, by }]))
                })
              )
              .pipe(Effect.retry({ while: (error) => error._tag === "LeaseLost" }))
          )
        yield* Effect.forEach(["a", "b", "c", "d"], terms, { concurrency: "unbounded" })
        const log = Option.getOrThrow(yield* logOf(store).read)
        assert.isAtLeast(log.length, 16)
        checkLog(log)
      })
    )

    it.live("of 20 who create one creates, 60 numbers are 60, and the highest position stays", () =>
      Effect.gen(function* () {
        const store = yield* open
        const once = CreateOnce.make(store, { schema: Schema.Int, what: "a number" })
        const outcomes = yield* Effect.forEach(range(20), (i) => once.create("once", i), { concurrency: "unbounded" })
        assert.strictEqual(outcomes.filter(({ _tag }) => _tag === "Created").length, 1)
        const winner = outcomes.findIndex(({ _tag }) => _tag === "Created")
        assert.isTrue(outcomes.every((outcome) => outcome._tag === "Created" || outcome.value === winner))

        const sequences = yield* Effect.forEach(range(4), (i) =>
          Sequence.make(store, { key: "sequence", block: 1 + i })
        )
        const numbers = yield* Effect.forEach(range(60), (i) => sequences[i % 4]!.next, { concurrency: "unbounded" })
        assert.strictEqual(new Set(numbers).size, 60)

        const options = { key: "point", schema: Schema.Int, what: "a position", order: Order.Number }
        const points = yield* Effect.forEach(range(3), () => Checkpoint.make(store, options))
        yield* Effect.forEach(range(30), (i) => points[i % 3]!.commit((i * 7) % 30), { concurrency: "unbounded" })
        assert.deepStrictEqual(yield* points[0]!.read, Option.some(29))
      })
    )

    it.live("40 appends, 20 commits and 30 increments at once are all there, once", () =>
      Effect.gen(function* () {
        const store = yield* open
        const logs = range(4).map(() => entriesOf(store))
        yield* Effect.forEach(range(40), (i) => logs[i % 4]!.append([`${i}`, `${i}`]), { concurrency: "unbounded" })
        yield* Effect.all([logs[0]!.compact(), logs[1]!.append(["last"]), logs[2]!.collect], {
          concurrency: "unbounded"
        })
        const entries = yield* Stream.runCollect(logs[3]!.read())
        assert.deepStrictEqual(
          entries.map(({ position }) => position),
          range(81)
        )
        const counted = Map.groupBy(entries, ({ value }) => value)
        assert.isTrue(range(40).every((i) => counted.get(`${i}`)?.length === 2))
        assert.strictEqual((yield* logs[3]!.verify()).next, 81)

        const parts = range(3).map(() => Segments.make(store, { prefix: "parts" }))
        yield* Effect.forEach(
          range(20),
          Effect.fnUntraced(function* (i) {
            const mine = parts[i % 3]!
            yield* mine.commit({ add: [yield* mine.put(new TextEncoder().encode(`${i}`))] })
          }),
          { concurrency: "unbounded" }
        )
        yield* parts[0]!.collect
        yield* parts[1]!.collect
        assert.strictEqual((yield* parts[2]!.read).parts.length, 20)
        assert.deepStrictEqual(yield* Stream.runCollect(parts[2]!.verify()), [])

        const values = PluginStore.make(store, { plugin: "é/..", schema: Schema.Int })
        yield* Effect.forEach(range(30), () => values.increment("n"), { concurrency: "unbounded" })
        assert.deepStrictEqual(yield* values.get("n"), Option.some(30))
        assert.strictEqual(yield* values.removeAll(), 1)
      })
    )

    it.live("what is new, changed and gone is told once; two consumers of 40 entries handle them in turn", () =>
      Effect.gen(function* () {
        const store = yield* open
        const body = (text: string) => new TextEncoder().encode(text)
        const keys = ["a/b", "a b", "é", "\u{1f600}", "%", "z"].map((key) => `data/${key}`)
        yield* Effect.forEach(keys, (key) => store.put({ key, body: body(key) }), { concurrency: 3 })
        const listing = ListingDifference.make(store, {
          listed: "data/",
          prefix: "seen",
          keysPerPart: 2,
          orderedList: true
        })
        const told: Array<string> = []
        const pass = Effect.gen(function* () {
          yield* listing.pass((some) =>
            Effect.sync(() => void told.push(...some.map(({ _tag, key }) => `${_tag} ${key}`)))
          )
          return told.splice(0).toSorted()
        })
        assert.deepStrictEqual(yield* pass, keys.map((key) => `New ${key}`).toSorted())
        yield* store.put({ key: keys[1]!, body: body("changed") })
        yield* store.delete(keys[3]!)
        yield* store.put({ key: "data/new", body: body("new") })
        assert.deepStrictEqual(yield* pass, [`Changed ${keys[1]}`, `Gone ${keys[3]}`, "New data/new"])
        assert.deepStrictEqual(yield* pass, [])

        const log = entriesOf(store)
        yield* Effect.forEach(range(4), (i) => log.append(range(10).map((n) => `${i * 10 + n}`)))
        const handled: Array<string> = []
        const consumer = () =>
          Consumer.make(store, {
            source: entriesOf(store),
            schema: Schema.String,
            prefix: "consumers",
            name: "é/..",
            batchSize: 7,
            lease: "2 seconds"
          })
        const drains = yield* Effect.forEach(
          range(2),
          () => consumer().drain((some) => Effect.sync(() => void handled.push(...some.map(({ value }) => value)))),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          drains.map(({ handled }) => handled).toSorted((a, b) => a - b),
          [0, 40]
        )
        assert.deepStrictEqual(handled, range(40).map(String))
        assert.deepStrictEqual(yield* consumer().position, Option.some(40))
        assert.strictEqual(yield* consumer().seek({ position: 38 }), 38)
        assert.strictEqual((yield* consumer().drain(() => Effect.void)).handled, 2)
      })
    )

    it.live("copies are those of the objects beside writers and compactions; packs go under readers", () =>
      Effect.gen(function* () {
        const store = yield* open
        const put = (key: string, text: string) =>
          store.put({ key: `data/${key}`, body: new TextEncoder().encode(text), metadata: { v: text } })
        const packed = range(3).map(() =>
          PackedObjects.make(store, { listed: "data/", prefix: "packed", objectsPerPack: 3, leastChanges: 1, grace: 0 })
        )
        const packing: PackedObjects.Packing<string> = {
          read: ({ body }) => Effect.succeed(new TextDecoder().decode(body)),
          columns: (all) => [{ name: "text", values: all }],
          tag: "1"
        }
        const keys = ["a/b", "a b", "é", "\u{1f600}", "%", "z", "y", "x"]
        yield* Effect.forEach(keys, (key) => put(key, "0"), { concurrency: 4 })
        const scan = (one: PackedObjects.PackedObjects) =>
          one
            .batches((pack) =>
              Effect.map(one.whole(pack), ({ index, rows }) => ({
                index,
                find: (key: string, etag: string | undefined) => {
                  const row = index.rowOf(key, etag)
                  return row === undefined ? undefined : rows[row]
                }
              }))
            )
            .pipe(
              Stream.flatMap(Stream.fromIterable),
              Stream.mapEffect(({ copy, entry: { key } }) =>
                Effect.map(copy === undefined ? store.get(key) : Effect.succeed(copy), ({ body, metadata }) => {
                  assert.strictEqual(new TextDecoder().decode(body), metadata["v"])
                  return { key: key.slice("data/".length), text: metadata["v"] ?? "", isCopy: copy !== undefined }
                })
              ),
              Stream.runCollect
            )
        for (const round of range(4)) {
          const [, , , seen] = yield* Effect.all(
            [
              packed[0]!.compact(packing),
              packed[1]!.compact(packing),
              Effect.forEach(keys.slice(0, 4), (key) => put(key, `${round + 1}`), { concurrency: 2 }),
              scan(packed[2]!)
            ],
            { concurrency: "unbounded" }
          )
          assert.strictEqual(seen.length, keys.length)
          for (const { key, text } of seen) {
            assert.include(keys.indexOf(key) < 4 ? [`${round}`, `${round + 1}`] : ["0"], text)
          }
        }
        yield* packed[0]!.compact(packing)
        const last = yield* scan(packed[2]!)
        assert.isTrue(last.every(({ isCopy, key, text }) => isCopy && text === (keys.indexOf(key) < 4 ? "4" : "0")))
      })
    )

    it.live("what is due is found in its order, also what comes late", () =>
      Effect.gen(function* () {
        const store = yield* open
        const index = TimeIndex.make(store, {
          prefix: "due/",
          payload: Schema.Int,
          what: "a number",
          orderedList: true
        })
        const day = 86_400_000
        const times = [-day, 0, 1, 30 * day, 40_000 * day, 4_000_000 * day]
        yield* Effect.forEach(times.toReversed(), (due) => index.add({ id: "é/..", due, payload: due }), {
          concurrency: 3
        })
        const found = yield* Stream.runCollect(index.due(40_000 * day))
        assert.deepStrictEqual(
          found.map(({ due }) => due),
          times.slice(0, -1)
        )
        yield* index.removeMany(found)
        const late = yield* index.add({ id: "late", due: -5 * day, payload: 7 })
        assert.deepStrictEqual(yield* Stream.runCollect(index.due(0)), [late])
        assert.deepStrictEqual(yield* index.payload(late), Option.some(7))
        yield* index.remove(late)
        assert.strictEqual(Option.getOrThrow(yield* index.first).due, 4_000_000 * day)
      })
    )
  })
}

const worker = fileURLToPath(new URL("./fixtures/kernelWorker.ts", import.meta.url))

/** A new folder, which is gone after the tests of the file. */
export const newFolder = (): string => {
  const root = mkdtempSync(join(tmpdir(), "effect-s3db-kernel-"))
  afterAll(() => rmSync(root, { recursive: true, force: true }))
  return join(root, "store")
}

/** Starts a worker; each line it tells is handed on, with what kills it. */
const start = (args: ReadonlyArray<string>, onLine: (line: string, kill: () => void) => void = () => {}) => {
  const child = spawn(process.execPath, ["--conditions=effect-s3db-source", "--no-warnings", worker, ...args], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  const lines: Array<string> = []
  let rest = ""
  child.stdout.on("data", (chunk: Buffer) => {
    const whole = (rest + chunk.toString("utf8")).split("\n")
    rest = whole.pop() ?? ""
    for (const line of whole) {
      lines.push(line)
      onLine(line, () => child.kill("SIGKILL"))
    }
  })
  return new Promise<ReadonlyArray<string>>((resolve) => child.on("close", () => resolve(lines)))
}

/** Registers the tests with processes on a folder, some of which are killed. */
export const processes = (kills: number): void => {
  describe("the kernel between processes", () => {
    it.live("four count 100 up to 100, and get 100 numbers", () =>
      Effect.gen(function* () {
        const folder = newFolder()
        const told = yield* Effect.promise(() => Promise.all(range(4).map((i) => start([folder, `${i}`, "count"]))))
        const numbers = told.flat()
        assert.strictEqual(numbers.length, 100)
        assert.strictEqual(new Set(numbers).size, 100)
        const store = yield* FileStore.make({ path: folder })
        assert.deepStrictEqual(yield* numberOf(store).read, Option.some(100))
      })
    )

    it.live("four append to one log, one of them killed and one compacting: all that was told is there once", () =>
      Effect.gen(function* () {
        const folder = newFolder()
        const told: Array<string> = []
        yield* Effect.promise(() =>
          Promise.all(
            ["a", "b", "compact", "killed"].map((name) =>
              start([folder, name, "append"], (line, kill) => {
                told.push(line)
                if (name === "killed" && line === "killed 5") kill()
              })
            )
          )
        )
        const log = entriesOf(yield* FileStore.make({ path: folder }))
        const values = (yield* Stream.runCollect(log.read())).map(({ value }) => value)
        assert.strictEqual(new Set(values).size, values.length)
        assert.isTrue(told.every((line) => values.includes(line)))
        assert.strictEqual(told.filter((line) => !line.startsWith("killed")).length, 60)
        // One may have been committed that was not told any more.
        assert.isAtMost(values.length, told.length + 1)
        for (const name of ["a", "b", "compact", "killed"]) {
          const numbers = values.flatMap((value) => (value.startsWith(`${name} `) ? [Number(value.split(" ")[1])] : []))
          assert.deepStrictEqual(numbers, range(numbers.length))
        }
        yield* log.verify()
      })
    )

    it.live("a write after a standstill of the event loop that is longer than the lease is refused", () =>
      Effect.gen(function* () {
        const folder = newFolder()
        const flag = join(folder, "..", "go on")
        let following: Promise<ReadonlyArray<string>> | undefined
        const blocked = start([folder, "blocked", "block", flag], (line) => {
          if (line !== "wrote 1") return
          following = start([folder, "next", "follow"])
          void following.then(() => writeFileSync(flag, ""))
        })
        const told = yield* Effect.promise(() => blocked)
        assert.isAtLeast((yield* Effect.promise(() => following!)).length, 3)
        assert.strictEqual(told.length, 2)
        assert.include(told[1], "LeaseLost")
        const store = yield* FileStore.make({ path: folder })
        const log = Option.getOrThrow(yield* logOf(store).read)
        checkLog(log)
        assert.deepStrictEqual([log[0], log.at(-1)?.by], [{ token: 1, by: "blocked" }, "next"])
        assert.strictEqual(log.filter(({ by }) => by === "blocked").length, 1)
      })
    )

    it.live(`${kills} leaders are killed: nothing acknowledged is lost, and no token is that of two`, () =>
      Effect.gen(function* () {
        const folder = newFolder()
        let killed = 0
        const wrote = new Map<string, number>()
        const lane = (): Promise<void> => {
          if (killed >= kills) return Promise.resolve()
          killed += 1
          const name = `w${killed}`
          let left = 2 + (killed % 4)
          const running = start([folder, name, "lead"], (_, kill) => {
            wrote.set(name, (wrote.get(name) ?? 0) + 1)
            left -= 1
            if (left <= 0) kill()
          })
          return running.then(lane)
        }
        yield* Effect.promise(() => Promise.all([lane(), lane(), lane()]))
        const store = yield* FileStore.make({ path: folder })
        const log = Option.getOrThrow(yield* logOf(store).read)
        checkLog(log)
        assert.strictEqual(wrote.size, killed)
        for (const [name, acknowledged] of wrote) {
          assert.isAtLeast(log.filter(({ by }) => by === name).length, acknowledged)
        }
        assert.isAtLeast(new Set(log.map(({ token }) => token)).size, killed)
      })
    )
  })
}
