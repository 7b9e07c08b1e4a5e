/** The policy of `docs/guide/connecting.md`, with the fewest rights, on Ceph's gateway: it is enough, and all of it is needed. */
import { readFileSync } from "node:fs"
import { CreateBucketCommand, PutBucketPolicyCommand, S3Client } from "@aws-sdk/client-s3"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as S3HttpStore from "effect-s3db/storage/S3HttpStore"
import { describeWithGateway, gateway } from "./available.ts"
import { limited } from "./ceph.ts"

class Users extends Resource.Service<Users>()("app/users", {
  schema: Schema.Struct({ id: Schema.String, mail: Schema.String, country: Schema.String }),
  primaryKey: "id",
  partitions: { byCountry: ["country"] },
  unique: { byMail: ["mail"] },
  history: true,
  content: true
}) {}

/** What is deleted by DELETE alone. */
class Notes extends Resource.Service<Notes>()("app/notes", {
  schema: Schema.Struct({ id: Schema.String, text: Schema.String }),
  primaryKey: "id"
}) {}

interface Statement {
  readonly Action: string | ReadonlyArray<string>
  readonly Resource: string
  readonly Condition?: unknown
}

const bucket = "rights"

const Principal = { AWS: [`arn:aws:iam:::user/${limited.accessKeyId}`] }

const all = [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`]

/**
 * The page's policy as one of the bucket, in the two ways in which Ceph's gateway differs: it wants the right to list without the
 * condition, and that to delete on the bucket, too, for DeleteObjects. `without` is denied, since who has written an object may do
 * with it what he likes there.
 */
const policy = (without?: string): string => {
  const page = readFileSync(new URL("../../docs/guide/connecting.md", import.meta.url), "utf8")
  const json = /^### The fewest rights\n[^]*?```json\n([^]*?)\n```/m.exec(page)?.[1] ?? ""
  const { Statement, Version } = JSON.parse(json) as {
    readonly Version: string
    readonly Statement: ReadonlyArray<Statement>
  }
  const allowed = Statement.map(({ Condition: _, Resource, ...rest }) => ({
    ...rest,
    Principal,
    Resource: Resource.replace("my-bucket", bucket)
  }))
  const forCeph = [
    { Effect: "Allow", Principal, Action: "s3:DeleteObject", Resource: all[0] },
    ...(without === undefined ? [] : [{ Effect: "Deny", Principal, Action: without, Resource: all }])
  ]
  return JSON.stringify({ Version, Statement: [...allowed, ...forCeph] })
}

const owner = new S3Client({
  endpoint: gateway.endpoint,
  region: "us-east-1",
  forcePathStyle: true,
  credentials: { accessKeyId: gateway.accessKeyId, secretAccessKey: gateway.secretAccessKey }
})

const allow = (text: string) =>
  Effect.promise(() => owner.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy: text })))

const prefix = `app/${performance.timeOrigin}`

const program = <A, E>(use: Effect.Effect<A, E, Users | Notes>, below = prefix) =>
  use.pipe(
    Effect.provide(
      Layer.mergeAll(Users.layer, Notes.layer).pipe(
        Layer.provide(Layer.fresh(Database.layer)),
        Layer.provide(
          S3HttpStore.layer({
            bucket,
            prefix: below,
            endpoint: gateway.endpoint,
            region: "us-east-1",
            retryFor: "2 seconds",
            credentials: { accessKeyId: limited.accessKeyId, secretAccessKey: Redacted.make(limited.secretAccessKey) }
          })
        )
      )
    )
  )

const reasonOf = (error: { readonly _tag: string; readonly reason?: unknown }): string => {
  const { reason } = error
  return typeof reason === "object" && reason !== null && "_tag" in reason ? String(reason._tag) : error._tag
}

describeWithGateway("the policy with the fewest rights", () => {
  it.live("is enough for everything, below its prefix", () =>
    Effect.gen(function* () {
      yield* Effect.promise(() => owner.send(new CreateBucketCommand({ Bucket: bucket })))
      yield* allow(policy())
      yield* program(
        Effect.gen(function* () {
          const users = yield* Users
          yield* users.insert({ id: "ana", mail: "ana@x", country: "BR" })
          yield* users.insertMany(["bo", "cy"].map((id) => ({ id, mail: `${id}@x`, country: "PT" })))
          yield* users.update("ana", { country: "PT", mail: "ana@y" })
          assert.strictEqual((yield* Effect.flip(users.get("dan")))._tag, "NotFound")
          assert.strictEqual((yield* users.getByUnique("byMail", { mail: "ana@y" })).id, "ana")
          const there = users.scan({ partition: "byCountry", values: { country: "PT" } })
          assert.lengthOf(yield* Stream.runCollect(there), 3)
          yield* users.setContent("ana", Stream.make(new Uint8Array(10)), { contentType: "image/png" })
          assert.lengthOf(yield* Stream.runCollect(users.history("ana")), 2)
          assert.lengthOf((yield* users.deleteMany(["bo", "cy"])).deleted, 2)
          yield* users.delete("ana")
          assert.lengthOf(yield* Stream.runCollect((yield* users.admin).repair({ dryRun: false })), 0)
        })
      )
      const elsewhere = yield* Effect.flip(program(Effect.void, "other"))
      assert.strictEqual(reasonOf(elsewhere), "AccessDenied")
    })
  )

  for (const right of ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"]) {
    it.live(`needs ${right}`, () =>
      Effect.gen(function* () {
        yield* allow(policy(right))
        const work = program(
          Effect.gen(function* () {
            const notes = yield* Notes
            yield* notes.replace({ id: "1", text: "a" })
            yield* Stream.runDrain(notes.scan())
            yield* notes.delete("1")
          })
        )
        assert.strictEqual(reasonOf(yield* Effect.flip(work)), "AccessDenied")
      })
    )
  }
})
