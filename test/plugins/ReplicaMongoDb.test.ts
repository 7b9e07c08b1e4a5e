import { assert, describe, it } from "@effect/vitest"
import { BSON } from "mongodb"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as ReplicaMongoDb from "effect-s3db/plugins/ReplicaMongoDb"
import type * as ReplicaTarget from "effect-s3db/plugins/ReplicaTarget"
import { kind, placeOn, server } from "./mongoReplicas.ts"
import { change, simpleShape, suite } from "./replicaTables.ts"

const batch = (...changes: ReadonlyArray<ReplicaTarget.Change>) => ({ shape: simpleShape, changes, isRepair: false })
const gone = (id: string, version: number): ReplicaTarget.Change => ({
  ...change(id, version),
  operation: "delete",
  document: undefined
})

describe("ReplicaMongoDb", () => {
  suite({ ...kind, every: 12, many: 100 })

  it.live("has types of BSON, and one command for a batch", () =>
    Effect.gen(function* () {
      const made = yield* server
      const { target } = yield* placeOn(made)
      yield* target.apply(batch(change("a", 1), change("a", 2), gone("b", 3)))
      assert.deepStrictEqual(made.commands, ["update"])
      assert.deepStrictEqual(
        [...made.collections.get("simple")!.values()],
        [
          { n: BSON.Long.fromNumber(2), s3db_version: BSON.Long.fromNumber(2), _id: "a" },
          { s3db_deleted: true, s3db_version: BSON.Long.fromNumber(3), _id: "b" }
        ]
      )
    }).pipe(Effect.scoped)
  )

  it.live("of two that make a document at a time the newer one is there, whoever was first", () =>
    Effect.gen(function* () {
      const made = yield* server
      const { rows, target } = yield* placeOn(made)
      const other = (id: string, version: number) => {
        const documents = made.collections.get("simple")!
        documents.set(id, { _id: id, n: new BSON.Int32(version), s3db_version: BSON.Long.fromNumber(version) })
      }
      const others: Record<string, number> = { older: 3, newer: 9 }
      made.between = (id) => {
        if (others[id] !== undefined) other(id, others[id])
      }
      yield* target.apply(batch(change("older", 5), change("newer", 5), change("alone", 5)))
      const all = Object.fromEntries((yield* rows("simple")).map((row) => [row["id"], Number(row["s3db_version"])]))
      assert.deepStrictEqual(all, { older: 5, newer: 9, alone: 5 })
      // Only those that were met are looked at once more.
      assert.deepStrictEqual(made.commands, ["update", "update"])
    }).pipe(Effect.scoped)
  )

  it.live("a document of somebody else's without a version is older", () =>
    Effect.gen(function* () {
      const made = yield* server
      const { rows, target } = yield* placeOn(made)
      made.collections.set("simple", new Map([["a", { _id: "a", n: "theirs" }]]))
      yield* target.apply(batch(change("a", 1)))
      assert.deepStrictEqual(
        (yield* rows("simple")).map(({ n }) => Number(n)),
        [1]
      )
    }).pipe(Effect.scoped)
  )

  it.live("tells what is out of reach from what is refused, and shows neither values nor passwords", () =>
    Effect.gen(function* () {
      const made = yield* server
      const { target } = yield* placeOn(made)
      const no = (code: number, codeName: string) => ({ ok: 0, code, codeName, errmsg: "secret value" })
      const writeError = (code: number, errmsg = "secret value") => ({
        ok: 1,
        n: 0,
        nModified: 0,
        writeErrors: [{ index: 0, code, errmsg }]
      })
      const answers = [
        [no(13, "Unauthorized"), "Credentials"],
        [no(18, "AuthenticationFailed"), "Credentials"],
        [no(91, "ShutdownInProgress"), "Unavailable"],
        [no(73, "InvalidNamespace"), "Schema"],
        [writeError(121), "Refused"],
        [writeError(17419), "Refused"],
        [
          writeError(11000, "E11000 duplicate key error collection: test.simple index: n_1 dup key: { n: 1 }"),
          "Refused"
        ],
        [writeError(64), "Unavailable"],
        [{ ok: 1, n: 1, nModified: 1, writeConcernError: { code: 64, errmsg: "secret value" } }, "Unavailable"]
      ] as const
      for (const [said, problem] of answers) {
        made.says = (command) => (command === "update" ? said : undefined)
        const error = yield* Effect.flip(target.apply(batch(change("a", 1))))
        assert.strictEqual(error.problem, problem, JSON.stringify(said))
        assert.notInclude(error.message, "secret")
      }
      made.says = undefined
      // Beyond 16 MB.
      const large = { ...change("a", 1), document: { id: "a", n: "x".repeat(17 * 1024 * 1024) } }
      const shape = { ...simpleShape, columns: [{ path: ["n"], name: "n", type: { _tag: "Text" as const } }] }
      const tooLarge = yield* Effect.flip(target.apply({ shape, changes: [large], isRepair: false }))
      assert.strictEqual(tooLarge.problem, "Refused", tooLarge.message)
      yield* Effect.promise(made.kill)
      assert.strictEqual((yield* Effect.flip(target.apply(batch(change("a", 1))))).problem, "Unavailable")
      yield* Effect.promise(made.start)
      yield* target.apply(batch(change("a", 1)))
      for (const url of ["http://user:s3cret@host", "mongodb://user:s3cret@:99999999/x"]) {
        const error = yield* Effect.flip(ReplicaMongoDb.mongoDb({ url: Redacted.make(url) }))
        assert.notInclude(error.message, "s3cret")
      }
      const error = yield* Effect.flip(ReplicaMongoDb.mongoDb({ url: Redacted.make(made.url), timeout: 0 }))
      assert.include(error.message, "timeout")
    }).pipe(Effect.scoped)
  )
})
