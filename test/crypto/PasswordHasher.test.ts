import { assert, describe, it } from "@effect/vitest"
import * as nodeCrypto from "node:crypto"
import * as Arbitrary from "effect/Arbitrary"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Id from "effect-s3db/crypto/Id"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as PasswordHash from "effect-s3db/schema/PasswordHash"
import * as pool from "../../src/crypto/internal/passwordPool.ts"
import * as text from "../../src/internal/passwordText.ts"
import { agreesWith, argon2idVectors, bcryptVectors } from "./passwordVectors.ts"

const { argon2id, bcrypt } = PasswordHasher
const { expand } = text
const compact = (hash: string): string => text.compact(hash)!
const { toText } = PasswordHash
const hashOf = (text: string) => Option.getOrThrow(PasswordHash.fromText(text))
const small = argon2id({ memory: 64, passes: 1 })
const smallLayer = PasswordHasher.layerWith({ algorithm: small, threads: 2 })

/** Ticks of the event loop until the effect is done. */
const ticksDuring = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const state = { ticks: 0, on: true }
      const tick = () => {
        state.ticks += 1
        if (state.on) setImmediate(tick)
      }
      setImmediate(tick)
      return state
    }),
    (state) => Effect.map(effect, (result) => [result, state.ticks] as const),
    (state) => Effect.sync(() => void (state.on = false))
  )

describe("PasswordHasher", () => {
  it.effect("vectors of crypt_blowfish and phc-winner-argon2 that take little time", () =>
    agreesWith([...bcryptVectors, ...argon2idVectors.slice(0, 2)]).pipe(
      Effect.provide(PasswordHasher.layerWith({ threads: 1 }))
    )
  )

  it.effect.skipIf(!("argon2Sync" in nodeCrypto))("argon2id gives what OpenSSL gives", () =>
    Effect.gen(function* () {
      const hasher = yield* PasswordHasher.PasswordHasher
      const cases: ReadonlyArray<readonly [number, number, number, string]> = [
        [64, 1, 1, "p"],
        [67, 3, 2, "grüße 🔑"],
        [512, 2, 4, "x".repeat(4096)]
      ]
      for (const [memory, passes, parallelism, password] of cases) {
        const hash = yield* hasher.hash(Redacted.make(password), argon2id({ memory, passes, parallelism }))
        const parsed = text.parse(toText(hash))!
        const digest = nodeCrypto.argon2Sync("argon2id", {
          message: Buffer.from(password),
          nonce: Buffer.from(parsed.salt, "base64"),
          parallelism,
          tagLength: 32,
          memory,
          passes
        })
        assert.strictEqual(parsed.digest, digest.toString("base64").replace("=", ""))
      }
    }).pipe(Effect.provide(smallLayer))
  )

  it.effect("the default: OWASP's Argon2id, off the event loop", () =>
    Effect.gen(function* () {
      const hasher = yield* PasswordHasher.PasswordHasher
      const password = Redacted.make("correct horse battery staple")
      const [hash, ticks] = yield* ticksDuring(hasher.hash(password))
      assert.isAtLeast(ticks, 3)
      assert.match(toText(hash), /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
      assert.deepStrictEqual([toText(hash).length, compact(toText(hash)).length], [97, 75])
      // The worker is warm by now: these ticks are those of the computation.
      const [right, more] = yield* ticksDuring(hasher.verify(password, hash))
      assert.isTrue(right)
      assert.isAtLeast(more, 3)
      assert.isFalse(yield* hasher.verify(Redacted.make("correct horse battery stable"), hash))
      assert.notStrictEqual(toText(yield* hasher.hash(password)), toText(hash))
    }).pipe(Effect.provide(PasswordHasher.layer))
  )

  it.effect("bcrypt of cost 12 is written as $2b$ and verifies", () =>
    Effect.gen(function* () {
      const hasher = yield* PasswordHasher.PasswordHasher
      const password = Redacted.make("secret")
      const [hash, ticks] = yield* ticksDuring(hasher.hash(password))
      assert.isAtLeast(ticks, 3)
      assert.match(toText(hash), /^\$2b\$12\$[./A-Za-z0-9]{53}$/)
      assert.strictEqual(compact(toText(hash)).length, 55)
      assert.isTrue(yield* hasher.verify(password, hash))
    }).pipe(Effect.provide(PasswordHasher.layerWith({ algorithm: bcrypt() })))
  )

  it.effect("salts come from Id.Generator", () =>
    Effect.gen(function* () {
      const hasher = yield* PasswordHasher.PasswordHasher
      const hash = Effect.map(hasher.hash(Redacted.make("secret")), toText)
      const seeded = () => Effect.provideService(hash, Id.Generator, Id.seeded(7))
      assert.strictEqual(yield* seeded(), yield* seeded())
      assert.notStrictEqual(yield* hash, yield* hash)
    }).pipe(Effect.provide(smallLayer))
  )

  it.effect("what is no password is refused, and never verifies", () =>
    Effect.gen(function* () {
      const hasher = yield* PasswordHasher.PasswordHasher
      const refused = (password: string, algorithm?: PasswordHasher.Algorithm) =>
        Effect.map(Effect.flip(hasher.hash(Redacted.make(password), algorithm)), (error) => {
          assert.strictEqual(error.operation, "hash")
          return error.reason
        })
      assert.strictEqual((yield* refused(""))._tag, "Empty")
      assert.strictEqual((yield* refused("", bcrypt()))._tag, "Empty")
      assert.strictEqual((yield* refused("a\0b", bcrypt()))._tag, "NulCharacter")
      // 72 bytes are bytes, not characters: 37 letters of two bytes each are too many.
      for (const password of ["x".repeat(73), "ü".repeat(37)]) {
        const reason = yield* refused(password, bcrypt())
        assert.isTrue(reason._tag === "TooLong" && reason.limit === 72)
      }
      for (const password of ["x".repeat(4097), "ü".repeat(2049)]) {
        const reason = yield* refused(password)
        assert.isTrue(reason._tag === "TooLong" && reason.limit === 4096)
      }
      const [long, password] = bcryptVectors[3]!
      for (const wrong of ["", `${password}x`, "ü".repeat(37), "a\0b"]) {
        assert.isFalse(yield* hasher.verify(Redacted.make(wrong), hashOf(long)))
      }
      const hash = yield* hasher.hash(Redacted.make("a\0b"))
      assert.isTrue(yield* hasher.verify(Redacted.make("a\0b"), hash))
      for (const wrong of ["", "a", "x".repeat(4097)]) {
        assert.isFalse(yield* hasher.verify(Redacted.make(wrong), hash))
      }
    }).pipe(Effect.provide(smallLayer))
  )

  it.effect("what is no hash is an error that does not show it", () =>
    Effect.gen(function* () {
      const hasher = yield* PasswordHasher.PasswordHasher
      const valid = argon2idVectors[0]![0]
      const [bcryptHash] = bcryptVectors[0]!
      const invalid = [
        "",
        "hunter2",
        bcryptHash.slice(0, -1),
        bcryptHash.replace("$05$", "$03$"),
        bcryptHash.replace("$05$", "$32$"),
        bcryptHash.replace("$2a$", "$2x$"),
        valid.replace("argon2id", "argon2i"),
        valid.replace("v=19", "v=16"),
        valid.replace("m=256", "m=7"),
        valid.replace("m=256", "m=0256"),
        valid.replace("m=256", "m=4294967296"),
        valid.replace("c29tZXNhbHQ", "c29tZXNhb"),
        valid.replace("c29tZXNhbHQ", "c29tZXNhbHQxx"),
        `${valid}\n`
      ]
      for (const text of invalid) {
        assert.isTrue(Option.isNone(PasswordHash.fromText(text)), text)
        assert.isTrue(Exit.isFailure(Schema.decodeUnknownExit(Schema.toCodecJson(PasswordHasher.PasswordHash))(text)))
        const error = yield* Effect.flip(hasher.verify(Redacted.make("hunter3"), text as never))
        assert.strictEqual(error.reason._tag, "InvalidHash")
        assert.notInclude(`${String(error)} ${JSON.stringify(error)}`, "hunter")
        assert.isTrue(hasher.needsRehash(text as never))
      }
      assert.isUndefined(text.compact("hunter2"))
      const reason = yield* hasher
        .verify(Redacted.make("x"), PasswordHash.standIn())
        .pipe(Effect.catchReason("PasswordError", "InvalidHash", () => Effect.succeed("caught")))
      assert.strictEqual(reason, "caught")
    }).pipe(Effect.provide(smallLayer))
  )

  it.effect("compact and expand lose nothing", () =>
    Effect.gen(function* () {
      const number = (minimum: number, maximum: number) =>
        Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))
      const characters = (alphabet: string, minimum: number, maximum: number) =>
        Arbitrary.map(Arbitrary.array(number(0, 63), { minLength: minimum, maxLength: maximum }), (at) =>
          at.map((index) => alphabet[index]).join("")
        )
      const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/"
      const bcryptHash = Arbitrary.map(
        Arbitrary.all([number(0, 2), number(4, 31), characters(`${letters}.`, 53, 53)]),
        ([variant, cost, rest]) => `$2${"aby"[variant]}$${String(cost).padStart(2, "0")}$${rest}`
      )
      const argon2Hash = Arbitrary.map(
        Arbitrary.all([
          number(1, 255),
          number(2040, 2 ** 32 - 1),
          number(1, 2 ** 32 - 1),
          characters(`${letters}+`, 11, 86),
          characters(`${letters}+`, 16, 86)
        ]),
        ([p, m, t, salt, digest]) => {
          const possible = (text: string) => (text.length % 4 === 1 ? text.slice(0, -2) : text)
          return `$argon2id$v=19$m=${m},t=${t},p=${p}$${possible(salt)}$${possible(digest)}`
        }
      )
      for (const [hashes, saved] of [
        [bcryptHash, 5],
        [argon2Hash, 20]
      ] as const) {
        const result = yield* Arbitrary.checkEffect(
          hashes,
          (hash) => {
            const short = compact(hash)
            return expand(short) === hash && hash.length - short.length >= saved && !short.includes("$")
          },
          { runs: 500 }
        )
        assert.isUndefined(Arbitrary.formatCheckFailure(result))
      }
      const short = compact(argon2idVectors[0]![0])
      assert.strictEqual(short, "i74.2.1.c29tZXNhbHQ.nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")
      for (const other of [
        "",
        "hunter2",
        short.slice(1),
        short.replace("i74", "i074"),
        short.replace(".2.", "."),
        "i7.1.1.c29tZXNhbHQ.c29tZXNhbHRzb21l"
      ]) {
        assert.isUndefined(expand(other), other)
      }
      for (const [hash] of [...bcryptVectors, ...argon2idVectors]) assert.isUndefined(expand(hash))
      for (const tag of ["Bcrypt", "Argon2id"] as const) {
        for (let size = 0; size < 40; size++) {
          const bytes = new Uint8Array(nodeCrypto.randomBytes(size))
          assert.deepStrictEqual(text.toBytes(tag, text.toText(tag, bytes)), bytes)
        }
      }
    })
  )

  it.effect("needsRehash", () =>
    Effect.gen(function* () {
      const hasher = yield* PasswordHasher.PasswordHasher
      const hash = yield* hasher.hash(Redacted.make("secret"))
      assert.isFalse(hasher.needsRehash(hash))
      assert.isTrue(hasher.needsRehash(hash, argon2id()))
      assert.isTrue(hasher.needsRehash(hash, argon2id({ memory: 64, passes: 2 })))
      assert.isTrue(hasher.needsRehash(hash, argon2id({ memory: 64, passes: 1, parallelism: 2 })))
      assert.isTrue(hasher.needsRehash(hash, bcrypt()))
      const twelve = hashOf(bcryptVectors[0]![0].replace("$05$", "$12$"))
      assert.isTrue(hasher.needsRehash(twelve))
      assert.isFalse(hasher.needsRehash(twelve, bcrypt()))
      assert.isTrue(hasher.needsRehash(twelve, bcrypt({ cost: 13 })))
      // The same options, with a salt of 8 bytes.
      assert.isTrue(hasher.needsRehash(hashOf(argon2idVectors[0]![0]), argon2id({ memory: 256 })))
    }).pipe(Effect.provide(smallLayer))
  )

  it.effect("options out of range name themselves", () =>
    Effect.gen(function* () {
      for (const cost of [9, 32, 12.5, Number.NaN]) assert.throws(() => bcrypt({ cost }), RangeError, "cost")
      assert.throws(() => argon2id({ memory: 7 }), RangeError, "memory")
      assert.throws(() => argon2id({ memory: 15, parallelism: 2 }), RangeError, "memory")
      assert.throws(() => argon2id({ memory: 2 ** 21 }), RangeError, "memory")
      assert.throws(() => argon2id({ passes: 0 }), RangeError, "passes")
      assert.throws(() => argon2id({ parallelism: 256 }), RangeError, "parallelism")
      const mistakes: ReadonlyArray<readonly [string, PasswordHasher.Options]> = [
        ["threads", { threads: 0 }],
        ["cost", { algorithm: { _tag: "Bcrypt", cost: 4 } }],
        ["pepper", { pepper: Redacted.make("") }]
      ]
      for (const [name, options] of mistakes) {
        const exit = yield* Effect.exit(Effect.scoped(PasswordHasher.make(options)))
        assert.match(String(exit), new RegExp(`RangeError: ${name} `))
      }
      const hasher = yield* PasswordHasher.PasswordHasher
      const exit = yield* Effect.exit(hasher.hash(Redacted.make("x"), { _tag: "Bcrypt", cost: 4 }))
      assert.match(String(exit), /RangeError: cost /)
    }).pipe(Effect.provide(smallLayer))
  )

  it.effect("a pepper is part of every hash", () =>
    Effect.gen(function* () {
      const plain = yield* PasswordHasher.make({ algorithm: small, threads: 1 })
      const peppered = yield* PasswordHasher.make({ algorithm: small, threads: 1, pepper: Redacted.make("cellar") })
      const other = yield* PasswordHasher.make({ algorithm: small, threads: 1, pepper: Redacted.make("attic") })
      const password = Redacted.make("secret")
      const hash = yield* peppered.hash(password)
      assert.isTrue(yield* peppered.verify(password, hash))
      assert.isFalse(yield* peppered.verify(Redacted.make("Secret"), hash))
      assert.isFalse(yield* other.verify(password, hash))
      assert.isFalse(yield* plain.verify(password, hash))
      const inner = nodeCrypto.createHmac("sha256", "cellar").update("secret").digest("base64")
      assert.isTrue(yield* plain.verify(Redacted.make(inner), hash))
      // Every byte counts, for bcrypt too.
      const long = "x".repeat(100)
      const bcrypted = yield* peppered.hash(Redacted.make(`${long}a\0b`), bcrypt({ cost: 10 }))
      assert.isTrue(yield* peppered.verify(Redacted.make(`${long}a\0b`), bcrypted))
      assert.isFalse(yield* peppered.verify(Redacted.make(`${long}a\0c`), bcrypted))
      const error = yield* Effect.flip(peppered.hash(Redacted.make("x".repeat(4097)), bcrypt()))
      assert.isTrue(error.reason._tag === "TooLong" && error.reason.limit === 4096)
    })
  )

  it.effect("layerConfig", () =>
    Effect.gen(function* () {
      const layer = PasswordHasher.layerConfig({
        algorithm: Config.map(Config.Int("MEMORY"), (memory) => argon2id({ memory, passes: 1 })),
        pepper: Config.Redacted("PEPPER"),
        threads: Config.Int("THREADS")
      })
      const use = Effect.flatMap(PasswordHasher.PasswordHasher, (hasher) => hasher.hash(Redacted.make("secret")))
      const hashWith = (entries: Record<string, string>) =>
        use.pipe(
          Effect.provide(layer),
          Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(entries))
        )
      assert.include(toText(yield* hashWith({ MEMORY: "72", PEPPER: "cellar", THREADS: "1" })), "m=72,t=1,p=1")
      const error = yield* Effect.flip(hashWith({ MEMORY: "72", THREADS: "1" }))
      assert.strictEqual(error._tag, "ConfigError")
    })
  )

  it.effect("a hash that needs too much memory is an error, and the thread goes on", () =>
    Effect.gen(function* () {
      const hasher = yield* PasswordHasher.PasswordHasher
      const hash = yield* hasher.hash(Redacted.make("secret"))
      const error = yield* Effect.flip(
        hasher.verify(Redacted.make("secret"), hashOf(toText(hash).replace("m=64", "m=4294967295")))
      )
      assert.strictEqual(error.reason._tag, "WorkerFailed")
      assert.isTrue(yield* hasher.verify(Redacted.make("secret"), hash))
    }).pipe(
      Effect.provide(
        PasswordHasher.layerWith({ algorithm: small, threads: 1, limits: { memory: 2 ** 32, memoryPasses: 2 ** 40 } })
      )
    )
  )

  it.effect("a hash that asks for more work than allowed is refused before any", () =>
    Effect.gen(function* () {
      const secret = Redacted.make("secret")
      const costly = [
        "$argon2id$v=19$m=64,t=99999,p=1$c29tZXNhbHQ$9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ",
        "$argon2id$v=19$m=1048576,t=1,p=1$c29tZXNhbHQ$9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ",
        `$2b$31$${"a".repeat(53)}`.replace(/.$/, "u")
      ].map((hash) => hashOf(hash))
      for (const hash of costly) {
        const verify = Effect.flatMap(PasswordHasher.PasswordHasher, ({ verify }) => verify(secret, hash))
        const limited = PasswordHasher.layerWith({ limits: { memoryPasses: 1_000_000 } })
        const error = yield* Effect.flip(Effect.provide(verify, limited))
        assert.strictEqual(error.reason._tag, "TooCostly")
      }
      // What the hasher itself makes is within its limits.
      const hasher = yield* PasswordHasher.make({ algorithm: small, limits: { memory: 0, memoryPasses: 0, cost: 0 } })
      const own = yield* hasher.hash(secret)
      assert.isTrue(yield* hasher.verify(secret, own))
      const more = yield* Effect.flip(hasher.verify(secret, hashOf(toText(own).replace("m=64", "m=65"))))
      assert.strictEqual(more.reason._tag, "TooCostly")
      const bcryptHasher = yield* PasswordHasher.make({ algorithm: bcrypt({ cost: 10 }), limits: { cost: 0 } })
      assert.isTrue(yield* bcryptHasher.verify(secret, yield* bcryptHasher.hash(secret)))
    }).pipe(Effect.scoped)
  )

  it.effect("many at once share a few threads", () =>
    Effect.gen(function* () {
      const hasher = yield* PasswordHasher.PasswordHasher
      const passwords = Array.from({ length: 40 }, (_, i) => Redacted.make(`password ${i}`))
      const hashes = yield* Effect.forEach(passwords, (password) => hasher.hash(password), { concurrency: "unbounded" })
      assert.strictEqual(new Set(hashes.map(toText)).size, 40)
      const verified = yield* Effect.forEach(hashes, (hash, i) => hasher.verify(passwords[i]!, hash), {
        concurrency: "unbounded"
      })
      assert.isTrue(verified.every(Boolean))
    }).pipe(Effect.provide(smallLayer))
  )

  it.effect("an interruption stops a computation that would take days", () =>
    Effect.gen(function* () {
      const hasher = yield* PasswordHasher.PasswordHasher
      const endless = yield* Effect.forkChild(hasher.hash(Redacted.make("secret"), bcrypt({ cost: 31 })), {
        startImmediately: true
      })
      const waiting = yield* Effect.forkChild(hasher.hash(Redacted.make("secret")), { startImmediately: true })
      // The thread has had time to start and to begin.
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 200)))
      assert.isUndefined(endless.pollUnsafe())
      assert.isUndefined(waiting.pollUnsafe())
      yield* Fiber.interrupt(endless)
      const hash = yield* Fiber.join(waiting)
      assert.isTrue(yield* hasher.verify(Redacted.make("secret"), hash))
    }).pipe(Effect.provide(PasswordHasher.layerWith({ algorithm: small, threads: 1 })))
  )
})

/**
 * Answers with the thread, the job, the length and how many jobs it did before, or does what the first byte of the salt says: 1 ends, 2 throws, 3 says that it
 * failed, 4 never answers.
 */
const fakeWorker = new URL(
  `data:text/javascript,${encodeURIComponent(`
    import { parentPort, threadId } from "node:worker_threads"
    let count = 0
    parentPort.on("message", ({ salt, password }) => {
      if (salt[0] === 1) process.exit(3)
      if (salt[0] === 2) throw new Error("oops")
      if (salt[0] === 3) return parentPort.postMessage({ _tag: "Failure", description: "no memory" })
      if (salt[0] === 4) return
      setTimeout(() => parentPort.postMessage({ _tag: "Digest", digest: Uint8Array.of(threadId, salt[0], password.length, count++) }), 5)
    })
  `)}`
)

describe("passwordPool", () => {
  const job = (order: number): pool.Job => ({
    _tag: "Bcrypt",
    cost: 4,
    length: 23,
    password: Uint8Array.of(1, 2, 3),
    salt: Uint8Array.of(order)
  })
  const make = (threads: number) => pool.make({ threads, worker: fakeWorker })

  it.effect("no more threads than allowed, used again, in order", () =>
    Effect.gen(function* () {
      const { run } = yield* make(2)
      const digests = yield* Effect.forEach(
        Array.from({ length: 12 }, (_, i) => job(10 + i)),
        run,
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        digests.map(([, n]) => n),
        Array.from({ length: 12 }, (_, i) => 10 + i)
      )
      const threads = Map.groupBy(digests, ([thread]) => thread)
      assert.strictEqual(threads.size, 2)
      // Which thread does a job depends on how fast they are, but each does its jobs in the order of the jobs.
      for (const done of threads.values()) {
        assert.deepStrictEqual(
          done.map(([, , , count]) => count),
          done.map((_, i) => i)
        )
      }
    })
  )

  it.effect("a dying thread fails its own job and is replaced", () =>
    Effect.gen(function* () {
      const { run } = yield* make(1)
      const [first] = yield* run(job(10))
      const results = yield* Effect.forEach([1, 11, 2, 12, 3, 13], (order) => Effect.result(run(job(order))), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(
        results.map((result) => (result._tag === "Success" ? result.success[1] : result.failure)),
        ["the worker thread ended with code 3", 11, "the worker thread failed: Error: oops", 12, "no memory", 13]
      )
      const [last] = yield* run(job(14))
      assert.notStrictEqual(last, first)
    })
  )

  it.effect("a thread that cannot start", () =>
    Effect.gen(function* () {
      const missing = yield* pool.make({ threads: 1, worker: new URL("./missing.js", import.meta.url) })
      for (let i = 0; i < 2; i++) {
        assert.match(yield* Effect.flip(missing.run(job(10))), /^the worker thread failed: .*missing\.js/)
      }
      const impossible = yield* pool.make({ threads: 1, worker: new URL("https://example.com/worker.js") })
      const bytes = job(10)
      assert.match(yield* Effect.flip(impossible.run(bytes)), /^no worker thread could be started: /)
      assert.deepStrictEqual([...bytes.password], [0, 0, 0])
    })
  )

  it.effect("interruption: a waiting job leaves the queue, a running one gives up its thread", () =>
    Effect.gen(function* () {
      const { run } = yield* make(1)
      const start = (job: pool.Job) => Effect.forkChild(run(job), { startImmediately: true })
      const stuck = yield* start(job(4))
      const waits = job(1)
      const waiting = yield* start(waits)
      const next = yield* start(job(10))
      yield* Fiber.interrupt(waiting)
      assert.deepStrictEqual([...waits.password], [0, 0, 0])
      yield* Fiber.interrupt(stuck)
      const [, n, length] = yield* Fiber.join(next)
      assert.deepStrictEqual([n, length], [10, 3])
    })
  )

  it.effect("the password's bytes are handed over", () =>
    Effect.gen(function* () {
      const { run } = yield* make(1)
      const sent = job(10)
      yield* run(sent)
      assert.strictEqual(sent.password.byteLength, 0)
    })
  )

  it.effect("the end of the scope ends the threads and fails what is left", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { run } = yield* Scope.provide(make(1), scope)
      yield* run(job(10))
      const left = yield* Effect.forEach([4, 10], (order) =>
        Effect.forkChild(Effect.flip(run(job(order))), { startImmediately: true })
      )
      yield* Scope.close(scope, Exit.void)
      for (const fiber of left) assert.strictEqual(yield* Fiber.join(fiber), "the password hasher is closed")
      assert.strictEqual(yield* Effect.flip(run(job(10))), "the password hasher is closed")
    })
  )
})
