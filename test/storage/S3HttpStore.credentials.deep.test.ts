import { createHash } from "node:crypto"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { opened } from "./s3Environment.ts"
import { type Answer, reply, type Seen, serve } from "./s3Server.ts"

const json = (body: unknown): Answer => reply(200, { "content-type": "application/json" }, JSON.stringify(body))

const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString()

const session = (name: string) => ({ AccessKeyId: name, SecretAccessKey: "hush-hush", Expiration: inAnHour() })

/** What gives credentials on machines of AWS, and the store. */
const cloud: Answer = (response, request) => {
  const answer = ((): Answer => {
    const { path } = request
    if (path === "/container") return json({ ...session("CONTAINER"), Token: "t" })
    if (path === "/latest/api/token") {
      return reply(200, { "x-aws-ec2-metadata-token-ttl-seconds": "21600" }, "token")
    }
    if (path.startsWith("/latest/meta-data/iam/security-credentials")) {
      const isList = path.endsWith("security-credentials/")
      return isList ? reply(200, {}, "role") : json({ ...session("MACHINE"), Token: "t", Code: "Success" })
    }
    if (path.startsWith("/federation/credentials")) {
      const roleCredentials = { accessKeyId: "SSO", secretAccessKey: "hush-hush", sessionToken: "t" }
      return json({ roleCredentials: { ...roleCredentials, expiration: Date.now() + 3_600_000 } })
    }
    if (request.method === "POST" && request.body.includes("AssumeRoleWithWebIdentity")) {
      const fields = Object.entries({ ...session("WEB"), SessionToken: "t" })
      const inside = fields.map(([name, value]) => `<${name}>${value}</${name}>`).join("")
      const result = `<AssumeRoleWithWebIdentityResult><Credentials>${inside}</Credentials></AssumeRoleWithWebIdentityResult>`
      const body = `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">${result}</AssumeRoleWithWebIdentityResponse>`
      return reply(200, { "content-type": "text/xml" }, body)
    }
    return reply(200, { etag: '"e1"' })
  })()
  answer(response, request)
}

const home = Effect.acquireRelease(
  Effect.sync(() => {
    const folder = mkdtempSync(join(tmpdir(), "effect-s3db-home-"))
    mkdirSync(join(folder, ".aws/sso/cache"), { recursive: true })
    const token = { accessToken: "token", expiresAt: inAnHour() }
    const cached = join(folder, ".aws/sso/cache", `${createHash("sha1").update("corp").digest("hex")}.json`)
    writeFileSync(cached, JSON.stringify(token))
    writeFileSync(
      join(folder, ".aws/credentials"),
      "[shared]\naws_access_key_id=FILE\naws_secret_access_key=hush-hush\n"
    )
    const sso = "sso_session=corp\nsso_account_id=123456789012\nsso_role_name=role\nregion=us-east-1"
    const ofSession = "sso_start_url=https://corp.example\nsso_region=us-east-1"
    writeFileSync(join(folder, ".aws/config"), `[profile corp]\n${sso}\n[sso-session corp]\n${ofSession}\n`)
    writeFileSync(join(folder, "token"), "a.b.c")
    return folder
  }),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

const nowhere = "http://127.0.0.1:1"

describe("S3HttpStore: credentials of the default chain, each source in a process of its own", () => {
  const sources: Readonly<Record<string, (folder: string, endpoint: string) => Readonly<Record<string, string>>>> = {
    FILE: () => ({ AWS_PROFILE: "shared", AWS_ACCESS_KEY_ID: "OTHER", AWS_SECRET_ACCESS_KEY: "other" }),
    SSO: (_, endpoint) => ({ AWS_PROFILE: "corp", AWS_ENDPOINT_URL_SSO: endpoint }),
    WEB: (folder, endpoint) => ({
      AWS_WEB_IDENTITY_TOKEN_FILE: join(folder, "token"),
      AWS_ROLE_ARN: "arn:aws:iam::123456789012:role/role",
      AWS_ENDPOINT_URL_STS: endpoint
    }),
    CONTAINER: (_, endpoint) => ({ AWS_CONTAINER_CREDENTIALS_FULL_URI: `${endpoint}/container` }),
    MACHINE: (_, endpoint) => ({ AWS_EC2_METADATA_SERVICE_ENDPOINT: endpoint })
  }
  for (const [name, environmentOf] of Object.entries(sources)) {
    it.live(name, () =>
      Effect.gen(function* () {
        const folder = yield* home
        const { endpoint, seen } = yield* serve(cloud)
        const url = `${endpoint}/bkt/p?region=us-east-1`
        const { loaded } = yield* opened(url, { HOME: folder, ...environmentOf(folder, endpoint) })
        const isPut = ({ method, path }: Seen) => method === "PUT" && path.startsWith("/bkt/")
        const used = seen.filter(isPut).map(({ headers }) => /Credential=(\w+)/.exec(headers.authorization!)![1])
        assert.deepStrictEqual(used, [name, name])
        assert.isTrue(loaded.some((file) => file.includes("credential-provider-node")))
        assert.isFalse(loaded.some((file) => file.includes("@aws-sdk/client-s3")))
      })
    )
  }

  it.live("none anywhere is told as such, and nothing is sent to the store", () =>
    Effect.gen(function* () {
      const { endpoint, seen } = yield* serve(cloud)
      const environment = { HOME: join(tmpdir(), "nobody"), AWS_EC2_METADATA_SERVICE_ENDPOINT: nowhere }
      const { error } = yield* opened(`${endpoint}/bkt?retryFor=0`, environment)
      assert.include(JSON.stringify(error), "AccessDenied")
      assert.strictEqual(seen.length, 0)
    })
  )
})
