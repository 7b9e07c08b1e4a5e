/** The command line as programs and people meet it: help, exit codes, connections, output. */
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { exitCodes, kindOf } from "../../src/cli/internal/failure.ts"
import * as DbError from "effect-s3db/DbError"
import * as StoreError from "effect-s3db/storage/StoreError"
import { fill, key } from "./people.ts"
import { asProcess, inFolder, inProcess } from "./shell.ts"

describe("s3db", () => {
  it.live("as a process: the version loads nothing, a folder no AWS SDK, and failures have their code", () =>
    Effect.gen(function* () {
      const { env, path, url } = yield* inFolder
      const hook = ["--import", new URL("loaded.ts", import.meta.url).href]
      const loaded = (name: string) => readFileSync(path(name), "utf8").split("\n")
      const version = yield* asProcess(["--version"], { LOADED: path("version") }, hook)
      const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))
      assert.deepStrictEqual(version, { code: 0, out: `${manifest.version}\n`, err: "" })
      assert.deepStrictEqual(
        loaded("version")
          .filter((one) => !one.startsWith("node:"))
          .map((one) => one.slice(one.lastIndexOf("/"))),
        ["/main.ts"]
      )
      yield* fill(url)
      const count = yield* asProcess(
        ["count", "people"],
        { ...env, S3DB_KEYS: `k1:${key}`, LOADED: path("count") },
        hook
      )
      assert.deepStrictEqual(count, { code: 0, out: "6\n", err: "" })
      const modules = loaded("count").join("\n")
      assert.include(modules, "Resource.ts")
      assert.notInclude(modules, "@aws-sdk")
      assert.notInclude(modules, "cli/internal/work/configure")
      const missing = yield* asProcess(["get", "people", "nobody"], { ...env, S3DB_KEYS: `k1:${key}` })
      assert.deepStrictEqual([missing.code, missing.out], [exitCodes.NotFound, ""])
      assert.include(missing.err, "nobody")
    })
  )

  it.effect("help has every command and examples; mistakes name what is meant", () =>
    Effect.gen(function* () {
      const help = yield* inProcess(["--help"])
      assert.strictEqual(help.code, 0)
      for (const command of ["configure", "status", "list", "get", "insert", "query", "delete", "aggregate"]) {
        assert.include(help.out, `\n  ${command} `)
      }
      assert.strictEqual((yield* inProcess([])).code, 0)
      assert.deepStrictEqual(yield* inProcess(["--version"]), { code: 0, out: "1.2.3\n", err: "" })
      const one = yield* inProcess(["query", "--help"])
      assert.include(one.out, "s3db query users --where 'age>=18'")
      for (const [args, said] of [
        [["quary", "people"], "query"],
        [["query", "people", "--wher", "a=1"], "--where"],
        [["get", "people"], "id"],
        [["get"], "resource"],
        [["query", "people", "--limit", "x"], "limit"],
        [["query", "people", "--limit", "0"], "1 or more"]
      ] as const) {
        const { code, err, out } = yield* inProcess(args)
        assert.deepStrictEqual([code, out], [exitCodes.Usage, ""], args.join(" "))
        assert.include(err, said)
        assert.include(err, "--help")
      }
      const json = yield* inProcess(["quary", "--json"])
      const told = JSON.parse(json.err) as { readonly error: { readonly kind: string; readonly code: number } }
      assert.deepStrictEqual([told.error.kind, told.error.code], ["Usage", 2])
    })
  )

  it.effect("completions for shells", () =>
    Effect.gen(function* () {
      for (const shell of ["bash", "zsh", "fish", "powershell"]) {
        const { code, out } = yield* inProcess(["completions", shell])
        assert.strictEqual(code, 0)
        assert.include(out, "aggregate")
      }
    })
  )

  it.effect("a connection is named by flag, profile or environment, and no secret is shown", () =>
    Effect.gen(function* () {
      const secret = "sEcReT-value/1"
      const bad = `s3://KEY:${encodeURIComponent(secret)}@bucket/pre?regionn=x`
      const { env, folder, s3db, url } = yield* inFolder
      yield* fill(url)
      const elsewhere = { env: { S3DB_URL: "" } }

      const none = yield* s3db(["list"], elsewhere)
      assert.strictEqual(none.code, exitCodes.Configuration)
      assert.include(none.err, "s3db configure")

      // The environment, in its order.
      assert.strictEqual((yield* s3db(["list"])).code, 0)
      assert.strictEqual((yield* s3db(["list"], { env: { S3DB_URL: "", S3DB_CONNECTION: url } })).code, 0)

      // A profile from standard input, which becomes the default.
      const kept = yield* s3db(["configure", "here"], { ...elsewhere, stdin: `${url}\n` })
      assert.strictEqual(kept.code, 0, kept.err)
      const file = `${env.XDG_CONFIG_HOME}/s3db/profiles.json`
      assert.strictEqual(statSync(file).mode & 0o777, 0o600)
      assert.strictEqual(statSync(`${env.XDG_CONFIG_HOME}/s3db`).mode & 0o777, 0o700)
      assert.strictEqual((yield* s3db(["list"], elsewhere)).code, 0)
      assert.strictEqual((yield* s3db(["list", "--profile", "here"], elsewhere)).code, 0)
      assert.strictEqual((yield* s3db(["list"], { env: { S3DB_URL: "", S3DB_PROFILE: "here" } })).code, 0)
      const typo = yield* s3db(["list", "-p", "hre"], elsewhere)
      assert.strictEqual(typo.code, exitCodes.Configuration)
      assert.include(typo.err, "did you mean here?")

      // The flag counts before everything else.
      const flag = yield* s3db(["list", "--url", `file://${folder}/nowhere`])
      assert.strictEqual(flag.code, exitCodes.Configuration)
      assert.include(flag.err, "there is no database")
      assert.isFalse(existsSync(`${folder}/nowhere`))

      // Secrets.
      const refused = yield* s3db(["status", "--url", bad])
      assert.strictEqual(refused.code, exitCodes.Configuration)
      const cloud = `s3://KEY:${encodeURIComponent(secret)}@bucket/pre?region=eu-west-1`
      const configured = yield* s3db(["configure", "cloud", "--url", cloud])
      const listed = yield* s3db(["profiles"])
      const listedJson = yield* s3db(["profiles", "--json"])
      assert.include(listed.out, "s3://bucket/pre (region eu-west-1)")
      for (const { err, out } of [refused, configured, listed, listedJson]) {
        assert.notInclude(out + err, "sEcReT")
        assert.notInclude(out + err, "KEY")
      }
      assert.include(readFileSync(file, "utf8"), "sEcReT")

      // Whoever can read it is told of.
      chmodSync(file, 0o644)
      assert.strictEqual((yield* s3db(["list"], elsewhere)).err.split("chmod 600").length, 2)
      assert.strictEqual((yield* s3db(["list", "--quiet"], elsewhere)).code, 0)

      assert.strictEqual((yield* s3db(["configure", "here", "--remove"])).code, 0)
      assert.strictEqual((yield* s3db(["configure", "here", "--remove"])).code, exitCodes.NotFound)
      assert.strictEqual((yield* s3db(["configure", "no/name"], { stdin: url })).code, exitCodes.Usage)
      assert.strictEqual((yield* s3db(["configure", "bad"], { stdin: "nonsense" })).code, exitCodes.Configuration)
      writeFileSync(file, `{"profiles":{"x":{"url":"${secret}"}}`)
      const broken = yield* s3db(["profiles"])
      assert.strictEqual(broken.code, exitCodes.Configuration)
      assert.notInclude(broken.err, "sEcReT")
    })
  )

  it.effect("profiles behind a link are written where it leads", () =>
    Effect.gen(function* () {
      const { env, path, s3db, url } = yield* inFolder
      const file = `${env.XDG_CONFIG_HOME}/s3db/profiles.json`
      for (const folder of [path("settings"), `${env.XDG_CONFIG_HOME}/s3db`]) mkdirSync(folder, { recursive: true })
      writeFileSync(path("settings", "mine.json"), '{"profiles":{}}', { mode: 0o600 })
      symlinkSync(path("settings", "mine.json"), file)
      const kept = yield* s3db(["configure", "here"], { stdin: url })
      assert.strictEqual(kept.code, 0, kept.err)
      assert.isTrue(lstatSync(file).isSymbolicLink())
      assert.include(readFileSync(path("settings", "mine.json"), "utf8"), '"here"')
      assert.strictEqual(statSync(file).mode & 0o777, 0o600)
      assert.deepStrictEqual(readdirSync(path("settings")), ["mine.json"])
    })
  )

  it.effect("what is read makes no database, also in memory", () =>
    Effect.gen(function* () {
      for (const args of [["list"], ["status"], ["query", "people"], ["insert", "people", "{}"]]) {
        const { code, err } = yield* inProcess([...args, "--url", "memory://here"])
        assert.strictEqual(code, exitCodes.Configuration, args.join(" "))
        assert.include(err, "s3db create resource")
      }
    })
  )

  it.effect("status, list and describe", () =>
    Effect.gen(function* () {
      const { json, s3db, url } = yield* inFolder
      yield* fill(url)
      const status = (yield* json(["status"])) as {
        readonly resources: ReadonlyArray<string>
        readonly capabilities: { readonly compareAndSet: boolean }
        readonly source: string
      }
      assert.deepStrictEqual(
        [status.resources, status.capabilities.compareAndSet, status.source],
        [["people"], true, "S3DB_URL"]
      )
      assert.include((yield* s3db(["status"])).out, "compare and set")
      const [people] = (yield* json(["list"])) as ReadonlyArray<Record<string, unknown>>
      assert.deepStrictEqual(people, {
        name: "people",
        version: 1,
        fields: 10,
        partitions: ["byCountry"],
        unique: ["byName"],
        behavior: "body-overflow",
        options: ["history", "content"]
      })
      const described = (yield* json(["describe", "people"])) as {
        readonly fields: ReadonlyArray<{ readonly field: string; readonly type: string }>
        readonly partitions: Record<string, unknown>
      }
      assert.include(
        described.fields.map(({ field, type }) => `${field} ${type}`),
        "card secret"
      )
      assert.deepStrictEqual(described.partitions, { byCountry: { fields: ["country", "age"], state: "ready" } })
      assert.include((yield* s3db(["describe", "people"])).out, "address.city")
      const typo = yield* s3db(["describe", "peple"])
      assert.strictEqual(typo.code, exitCodes.NotFound)
      assert.include(typo.err, "did you mean people?")
    })
  )

  it("every failure of the library has a kind", () => {
    const reasons = DbError.Reason.members.map((member) => member)
    for (const Reason of reasons) {
      const reason = new (Reason as unknown as new (fields: object) => StoreError.Reason)({
        description: "x",
        argument: "a",
        feature: "f",
        size: 1,
        limit: 1,
        sent: false,
        afterMillis: 1,
        why: "Altered",
        path: [],
        service: "s",
        index: "i"
      })
      assert.notStrictEqual(kindOf(DbError.make("op", reason)), "Defect", reason._tag)
    }
    assert.strictEqual(kindOf(new Error("x")), "Defect")
    assert.strictEqual(new Set(Object.values(exitCodes)).size, Object.keys(exitCodes).length)
  })
})
