import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as CapabilityProbe from "effect-s3db/storage/CapabilityProbe"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import {
  type Capabilities,
  fullCapabilities,
  type ListRequest,
  type Metadata,
  metadataHeaderOverhead,
  ObjectStore
} from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import {
  AccessDenied,
  InvalidArgument,
  MetadataTooLarge,
  NoSuchKey,
  PreconditionFailed,
  type Reason,
  StoreError,
  Throttled,
  Unsupported
} from "effect-s3db/storage/StoreError"
import * as Pauses from "effect-s3db/testing/Pauses"

type Store = ObjectStore["Service"]

interface Faults {
  /** What `If-None-Match` does. */
  readonly create?: "honoured" | "ignored" | "unsupported" | "checked too early"
  /** The only form of `If-Match` that is understood; another one never matches. */
  readonly match?: "quoted" | "unquoted" | "ignored" | "unsupported" | "never" | "checked too early"
  readonly conditionalDelete?: "honoured" | "ignored" | "unsupported"
  readonly conditionalCopy?: "honoured" | "ignored" | "unsupported"
  /** The most bytes of one value, of all, of the headers, and the most entries. */
  readonly metadata?: {
    readonly value?: number
    readonly total?: number
    readonly headers?: number
    readonly entries?: number
  }
  /** The only names that are taken. */
  readonly names?: RegExp
  /** What becomes of names, and of values. */
  readonly renamed?: (name: string) => string
  readonly changed?: (value: string) => string
  readonly hiddenFromGet?: boolean
  /** Metadata beyond this many bytes is dropped in silence. */
  readonly metadataKept?: number
  readonly order?: (a: string, b: string) => number
  readonly startAfter?: "honoured" | "ignored"
  /** How a key is shown in a listing, if at all, as `listedKeys` has been adopted. */
  readonly listed?: (key: string, form: Capabilities["listedKeys"]) => string | undefined
  /** Fails with this, from the given request on. */
  readonly failing?: { readonly from: number; readonly reason: Reason }
}

const sizeOf = (metadata: Metadata) =>
  Object.entries(metadata).reduce((sum, [name, value]) => sum + name.length + value.length, 0)

const compareBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))

const plain = (key: string): string => key

/** A store of a few lines with faults on demand. */
const faulty = (faults: Faults = {}) => {
  const objects = new Map<string, { body: Uint8Array; etag: string; metadata: Metadata }>()
  const state = {
    requests: 0,
    versions: 0,
    form: "quoted" as Capabilities["etagForm"],
    listedKeys: undefined as Capabilities["listedKeys"],
    adopted: [] as Array<Capabilities>
  }
  const { conditionalCopy = "honoured", conditionalDelete = "honoured", create = "honoured", match = "quoted" } = faults

  const request = <A>(
    operation: StoreError["operation"],
    key: string,
    run: () => A | Reason,
    late?: () => A | Reason
  ) =>
    Effect.suspend(() => {
      state.requests += 1
      const { failing } = faults
      const result = failing !== undefined && state.requests >= failing.from ? failing.reason : run()
      return Effect.succeed(result).pipe(
        // Others run between the check and the write.
        late === undefined ? (same) => same : Effect.tap(Effect.yieldNow),
        Effect.flatMap((checked) => {
          const outcome = late === undefined || isReason(checked) ? checked : late()
          return isReason(outcome)
            ? Effect.fail(new StoreError({ operation, key, reason: outcome }))
            : Effect.succeed(outcome)
        })
      )
    })

  const unmet = new PreconditionFailed({ description: "no" })
  const unsupported = new Unsupported({ feature: "conditions", description: "no" })

  const checkMatch = (key: string, etag: string, how: "honoured" | "ignored" | "unsupported"): Reason | undefined => {
    if (how === "ignored") return undefined
    if (how === "unsupported") return unsupported
    const understood = match === "checked too early" || match === "ignored" ? "quoted" : match
    return state.form === understood && objects.get(key)?.etag === etag ? undefined : unmet
  }

  const write = (key: string, body: Uint8Array, metadata: Metadata) => {
    state.versions += 1
    const etag = `v${state.versions}`
    objects.set(key, { body, etag, metadata })
    return { etag }
  }

  const store: Store = {
    location: "faulty:",
    capabilities: undefined,
    adopt: (capabilities) =>
      Effect.sync(() => {
        state.form = capabilities.etagForm
        state.listedKeys = capabilities.listedKeys
        state.adopted.push(capabilities)
      }),
    put: ({ body = new Uint8Array(), ifMatch, ifNoneMatch, key, metadata = {} }) => {
      const check = (): Reason | undefined => {
        const { entries = Infinity, headers = Infinity, total = 2048, value = 2048 } = faults.metadata ?? {}
        const size = sizeOf(metadata)
        const names = Object.keys(metadata)
        if (!names.every((name) => faults.names?.test(name) ?? true)) {
          return new InvalidArgument({ argument: "metadata", description: "no" })
        }
        const sent = names.reduce((sum, name) => sum + metadataHeaderOverhead(name.length), size)
        const isTooMuch = size > total || names.length > entries || sent > headers
        if (isTooMuch || Object.values(metadata).some((one) => one.length > value)) {
          return new MetadataTooLarge({ size, limit: total, description: "no" })
        }
        if (ifNoneMatch !== undefined && create !== "ignored") {
          if (create === "unsupported") return unsupported
          if (objects.has(key)) return unmet
        }
        return ifMatch === undefined
          ? undefined
          : checkMatch(key, ifMatch, match === "ignored" || match === "unsupported" ? match : "honoured")
      }
      const { changed = (same: string) => same, renamed = (same: string) => same } = faults
      const kept =
        faults.metadataKept !== undefined && sizeOf(metadata) > faults.metadataKept
          ? {}
          : Object.fromEntries(Object.entries(metadata).map(([name, value]) => [renamed(name), changed(value)]))
      const early =
        (create === "checked too early" && ifNoneMatch !== undefined) ||
        (match === "checked too early" && ifMatch !== undefined)
      return early
        ? request(
            "put",
            key,
            () => check() ?? { etag: "" },
            () => write(key, body, kept)
          )
        : request("put", key, () => check() ?? write(key, body, kept))
    },
    get: (key) =>
      request("get", key, () => {
        const object = found(key)
        return isReason(object) || faults.hiddenFromGet !== true ? object : { ...object, metadata: {} }
      }),
    head: (key) => request("head", key, () => found(key)),
    delete: (key, options) =>
      request("delete", key, () => {
        const problem = options?.ifMatch === undefined ? undefined : checkMatch(key, options.ifMatch, conditionalDelete)
        if (problem !== undefined) return problem
        objects.delete(key)
        return undefined
      }),
    deleteMany: (keys) =>
      request("deleteMany", "", () => {
        for (const key of keys) objects.delete(key)
        return { deleted: keys, failed: [] }
      }),
    copy: ({ from, ifSourceMatch, to }) =>
      request("copy", from, () => {
        const problem = ifSourceMatch === undefined ? undefined : checkMatch(from, ifSourceMatch, conditionalCopy)
        const source = objects.get(from)
        return problem ?? (source === undefined ? absent : write(to, source.body, source.metadata))
      }),
    list: ({ prefix = "", startAfter = "" } = {}) =>
      request("list", prefix, () => {
        const after = faults.startAfter === "ignored" ? "" : startAfter
        const keys = [...objects.keys()]
          .filter((key) => key.startsWith(prefix) && compareBytes(key, after) > 0)
          .map((key) => (faults.listed ?? plain)(key, state.listedKeys))
          .filter((key) => key !== undefined)
        return {
          entries: keys.toSorted(faults.order ?? compareBytes).map((key) => ({ key })),
          commonPrefixes: [],
          nextToken: undefined
        }
      })
  }

  const absent = new NoSuchKey({ description: "no" })
  const found = (key: string) => {
    const object = objects.get(key)
    return object === undefined
      ? absent
      : { ...object, key, size: object.body.length, contentType: "", contentEncoding: undefined, lastModified: 0 }
  }
  return { store, objects, state }
}

const isReason = (value: unknown): value is Reason =>
  typeof value === "object" && value !== null && "isRetryable" in value

const probed = Effect.fnUntraced(function* (faults: Faults) {
  const { objects, state, store } = faulty(faults)
  const capabilities = yield* CapabilityProbe.probe(store)
  assert.strictEqual(objects.size, 0, "the scratch objects are gone")
  assert.deepStrictEqual(state.adopted.at(-1), capabilities)
  return { capabilities, requests: state.requests }
})

describe("CapabilityProbe.probe", () => {
  it.effect("a store that honours everything", () =>
    Effect.gen(function* () {
      const { capabilities, requests } = yield* probed({})
      assert.deepStrictEqual(capabilities, fullCapabilities)
      assert.strictEqual(requests, 50)
    })
  )

  const cases: ReadonlyArray<readonly [string, Faults, Partial<Capabilities>]> = [
    ["If-None-Match is ignored", { create: "ignored" }, { createIfAbsent: false }],
    ["If-None-Match is not implemented", { create: "unsupported" }, { createIfAbsent: false }],
    ["a create is checked too early", { create: "checked too early" }, { createIfAbsent: false }],
    ["only the unquoted ETag matches", { match: "unquoted" }, { etagForm: "unquoted" }],
    // Accepting the right ETag proves nothing when a stale one is accepted too, and refusing both proves nothing either.
    [
      "If-Match is ignored",
      { match: "ignored", conditionalDelete: "ignored", conditionalCopy: "ignored" },
      { compareAndSet: false, conditionalDelete: false, conditionalCopy: false }
    ],
    [
      "If-Match never matches",
      { match: "never" },
      { compareAndSet: false, conditionalDelete: false, conditionalCopy: false }
    ],
    ["If-Match is checked too early", { match: "checked too early" }, { compareAndSet: false }],
    ["DELETE ignores If-Match", { conditionalDelete: "ignored" }, { conditionalDelete: false }],
    ["DELETE knows no If-Match", { conditionalDelete: "unsupported" }, { conditionalDelete: false }],
    ["copies ignore conditions", { conditionalCopy: "ignored" }, { conditionalCopy: false }],
    ["copies know no conditions", { conditionalCopy: "unsupported" }, { conditionalCopy: false }],
    ["values of at most 256 bytes", { metadata: { value: 256 } }, { metadataBytes: 2048, metadataEntryBytes: 257 }],
    ["at most 20 entries", { metadata: { entries: 20 } }, { metadataEntries: 18 }],
    ["less room for headers", { metadata: { headers: 3000 } }, { metadataEntries: 91, metadataHeaderBytes: 91 * 32 }],
    ["names of identifiers alone", { names: /^[a-z][a-z0-9]*$/ }, { metadataBytes: 0, metadataKept: false }],
    ["names without digits first", { names: /^[a-z-]/ }, { metadataBytes: 0, metadataKept: false }],
    ["- becomes _", { renamed: (name) => name.replaceAll("-", "_") }, { metadataBytes: 0, metadataKept: false }],
    ["metadata is dropped", { metadataKept: -1 }, { metadataBytes: 0, metadataKept: false }],
    [
      "quotes are taken off",
      { changed: (value) => value.replaceAll('"', "") },
      { metadataBytes: 0, metadataKept: false }
    ],
    ["HEAD shows metadata, GET does not", { hiddenFromGet: true }, { metadataBytes: 0, metadataKept: false }],
    ["less metadata", { metadata: { total: 777 } }, { metadataBytes: 777 }],
    ["metadata that is dropped in silence", { metadataKept: 1000 }, { metadataBytes: 1000 }],
    ["a listing that begins where it wants", { startAfter: "ignored" }, { orderedList: false }],
    [
      "keys that are percent-encoded without a word",
      { listed: (key, form) => (form === "percent" ? key : key.replaceAll("%", "%25").replaceAll(" ", "%20")) },
      { listedKeys: "percent" }
    ],
    ["directories are not shown", { listed: (key) => (key.endsWith("/") ? undefined : key) }, { orderedList: false }],
    ["UTF-16 order", { order: (a, b) => (a < b ? -1 : a > b ? 1 : 0) }, { orderedList: false }],
    ["the order of a language", { order: (a, b) => a.localeCompare(b) }, { orderedList: false }],
    [
      "directories first",
      { order: (a, b) => Number(b.endsWith("/")) - Number(a.endsWith("/")) || (a < b ? -1 : 1) },
      { orderedList: false }
    ]
  ]
  for (const [name, faults, expected] of cases) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const { capabilities } = yield* probed(faults)
        assert.deepStrictEqual(capabilities, { ...fullCapabilities, ...expected })
      })
    )
  }

  it.effect("any other error is passed on, and what was written is removed", () =>
    Effect.gen(function* () {
      for (let from = 1; from < 47; from++) {
        const denied = faulty({ failing: { from, reason: new AccessDenied({ description: "no" }) } })
        const error = yield* Effect.flip(CapabilityProbe.probe(denied.store))
        assert.strictEqual(error.reason._tag, "AccessDenied")
      }
      const { objects, store } = faulty({})
      const once = {
        ...store,
        copy: () => Effect.fail(new StoreError({ operation: "copy", reason: new Throttled({ description: "no" }) }))
      }
      const error = yield* Effect.flip(CapabilityProbe.probe(once))
      assert.strictEqual(error.reason._tag, "Throttled")
      assert.strictEqual(objects.size, 0)
    })
  )

  it.effect("a listing that is wrong in every form: refused, with what is wrong and what to do", () =>
    Effect.gen(function* () {
      for (const [listed, problem] of [
        [(key: string) => (key.endsWith("/b") ? undefined : key), /does not list "s3db-probe.*\/b", which was written/],
        [(key: string) => key.toLowerCase(), /lists "s3db-probe.*, which was never written|others, such as/],
        [() => undefined, /does not list/],
        [(key: string) => key.replace(/a b$/, "a"), /does not list "s3db-probe.*\/a b", which was written/]
      ] as const) {
        const { objects, store } = faulty({ listed })
        const { reason } = yield* Effect.flip(CapabilityProbe.probe(store))
        assert.strictEqual(reason._tag, "Unsupported")
        assert.match(reason.description, problem)
        assert.match(reason.description, /use the endpoint of the store itself/)
        assert.strictEqual(objects.size, 0)
      }
      const { store } = faulty({})
      const twice = {
        ...store,
        list: (request: ListRequest = {}) =>
          Effect.map(store.list(request), (page) => ({ ...page, entries: [...page.entries, ...page.entries] }))
      }
      const { reason } = yield* Effect.flip(CapabilityProbe.probe(twice))
      assert.match(reason.description, /it lists a key twice/)
    })
  )

  it.effect("objects of others stay", () =>
    Effect.gen(function* () {
      const { objects, store } = faulty({})
      yield* store.put({ key: "s3db-probe/other/x" })
      yield* store.put({ key: "mine" })
      yield* CapabilityProbe.probe(store)
      assert.deepStrictEqual([...objects.keys()], ["s3db-probe/other/x", "mine"])
    })
  )
})

describe("CapabilityProbe.probe on the profiles of MemoryStore", () => {
  const profiles: Record<MemoryStore.Profile, Partial<Capabilities>> = {
    aws: {},
    r2: {},
    rgw: { etagForm: "unquoted", conditionalDelete: false, conditionalCopy: false },
    swift: { compareAndSet: false, conditionalDelete: false, metadataEntryBytes: 257 },
    express: { orderedList: false },
    unconditional: { createIfAbsent: false, compareAndSet: false, conditionalDelete: false, conditionalCopy: false }
  }
  for (const [profile, expected] of Object.entries(profiles)) {
    it.effect(profile, () =>
      Effect.gen(function* () {
        const { store } = yield* MemoryStore.make({ profile: profile as MemoryStore.Profile })
        // R2 takes one write of a key in a second: the retries wait for it.
        const patient = RetryingStore.make(store, { retries: 20 })
        const probing = yield* Effect.forkChild(Pauses.byClock(CapabilityProbe.probe(patient)))
        while (probing.pollUnsafe() === undefined) yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* Fiber.join(probing), { ...fullCapabilities, ...expected })
        const left = yield* store.list()
        assert.deepStrictEqual(left.entries, [])
      })
    )
  }
})

describe("CapabilityProbe.ensure", () => {
  const conditional = { singleWriter: false } as const

  it.effect("makes no request when the store is known or remembered, and adopts what is remembered", () =>
    Effect.gen(function* () {
      const known = faulty({})
      const store = { ...known.store, capabilities: fullCapabilities }
      assert.deepStrictEqual(yield* CapabilityProbe.ensure(store, conditional), fullCapabilities)
      const remembered = { ...fullCapabilities, etagForm: "unquoted" } as const
      const other = faulty({ match: "unquoted" })
      assert.deepStrictEqual(yield* CapabilityProbe.ensure(other.store, { ...conditional, remembered }), remembered)
      assert.strictEqual(other.state.form, "unquoted")
      assert.strictEqual(known.state.requests + other.state.requests, 0)
    })
  )

  it.effect("probes what is not known", () =>
    Effect.gen(function* () {
      const { state, store } = faulty({ match: "unquoted" })
      const { etagForm } = yield* CapabilityProbe.ensure(store, conditional)
      assert.strictEqual(etagForm, "unquoted")
      assert.strictEqual(state.form, "unquoted")
      assert.isAbove(state.requests, 0)
    })
  )

  it.effect("refuses a store without conditional writes, unless there is a single writer", () =>
    Effect.gen(function* () {
      for (const [faults, lacking] of [
        [{ create: "ignored" }, /If-None-Match on PUT/],
        [{ match: "ignored" }, /honour If-Match on PUT/],
        [{ match: "ignored", create: "unsupported" }, /If-None-Match and If-Match/]
      ] as const) {
        const { store } = faulty(faults)
        const { reason } = yield* Effect.flip(CapabilityProbe.ensure(store, conditional))
        assert.strictEqual(reason._tag, "Unsupported")
        assert.strictEqual("feature" in reason && reason.feature, "conditional writes")
        assert.match(reason.description, lacking)
        assert.match(reason.description, /singleWriter: true/)
        const found = yield* CapabilityProbe.ensure(store, { singleWriter: true })
        assert.isFalse(found.createIfAbsent && found.compareAndSet)
        // Remembered as lacking, it is still refused.
        const again = yield* Effect.flip(CapabilityProbe.ensure(store, { ...conditional, remembered: found }))
        assert.strictEqual(again.reason._tag, "Unsupported")
      }
    })
  )

  it.effect("refuses a store that does not keep metadata, and says what is wanting", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [Faults, RegExp]> = [
        [{ metadataKept: -1 }, /^faulty: does not give user metadata back/],
        [{ names: /^[a-z]+$/ }, /^faulty: does not give user metadata back/],
        [{ renamed: (name) => name.replaceAll("-", "_") }, /^faulty: does not give user metadata back/],
        [{ metadata: { total: 255 } }, /^faulty: keeps 255 bytes of user metadata, 256 are needed/],
        [{ metadata: { value: 200 } }, /^faulty: keeps 201 bytes of user metadata, 256 are needed/],
        [{ metadata: { entries: 9 } }, /^ok$/]
      ]
      for (const [faults, expected] of cases) {
        for (const singleWriter of [false, true]) {
          const { store } = faulty(faults)
          const told = yield* CapabilityProbe.ensure(store, { singleWriter }).pipe(
            Effect.as("ok"),
            Effect.catch(({ operation, reason }) =>
              Effect.sync(() => {
                assert.deepStrictEqual(
                  [operation, reason._tag === "Unsupported" && reason.feature],
                  ["open", "user metadata"]
                )
                return reason.description
              })
            )
          )
          assert.match(told, expected)
          assert.notMatch(told, /-\d+ bytes/)
        }
      }
    })
  )
})
