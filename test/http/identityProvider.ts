/** A provider of identities on a port of this machine: `oidc-provider`, with keys that can be changed while it runs. */
import { generateKeyPairSync } from "node:crypto"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as Effect from "effect/Effect"
import { Provider } from "oidc-provider"

const keyOf = (kid: string) => ({
  ...generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" }),
  kid,
  alg: "RS256",
  use: "sig"
})

interface Entry {
  readonly payload: Record<string, unknown>
  readonly key: string
}

/** What the provider remembers, whatever keys it has. */
const adapterOver = (entries: Map<string, Entry>) =>
  class {
    readonly kind: string
    constructor(kind: string) {
      this.kind = kind
    }
    #by(name: string, value: string) {
      return Promise.resolve(
        [...entries.values()].find(({ key, payload }) => key.startsWith(`${this.kind}:`) && payload[name] === value)
          ?.payload
      )
    }
    upsert(id: string, payload: Record<string, unknown>) {
      const key = `${this.kind}:${id}`
      entries.set(key, { key, payload })
      return Promise.resolve()
    }
    find(id: string) {
      return Promise.resolve(entries.get(`${this.kind}:${id}`)?.payload)
    }
    findByUid(uid: string) {
      return this.#by("uid", uid)
    }
    findByUserCode(code: string) {
      return this.#by("userCode", code)
    }
    consume(id: string) {
      const found = entries.get(`${this.kind}:${id}`)
      if (found !== undefined) found.payload["consumed"] = Math.floor(Date.now() / 1000)
      return Promise.resolve()
    }
    destroy(id: string) {
      entries.delete(`${this.kind}:${id}`)
      return Promise.resolve()
    }
    revokeByGrantId(grant: string) {
      for (const { key, payload } of entries.values()) if (payload["grantId"] === grant) entries.delete(key)
      return Promise.resolve()
    }
  }

export interface Client {
  readonly origin: string
  readonly name: string
  readonly id: string
  readonly secret: string
}

/** `deliver` gets what the provider sends over the back channel. */
export const startProvider = (
  clients: ReadonlyArray<Client>,
  deliver: (request: Request) => Promise<Response>,
  accessTokenFor = 600
) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer()
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const delivered: Array<{ readonly url: string; readonly body: string; readonly status: number }> = []
      const errors: Array<string> = []
      const adapter = adapterOver(new Map())
      const make = (keys: ReadonlyArray<string>) => {
        const provider = new Provider(issuer, {
          adapter,
          clients: clients.map(({ id, name, origin, secret }) => ({
            client_id: id,
            client_secret: secret,
            redirect_uris: [`${origin}/auth/${name}/callback`],
            post_logout_redirect_uris: [`${origin}/auth/${name}/logged-out`],
            backchannel_logout_uri: `${origin}/auth/${name}/backchannel-logout`,
            backchannel_logout_session_required: true,
            grant_types: ["authorization_code", "refresh_token"]
          })),
          claims: { openid: ["sub"], email: ["email", "email_verified"], roles: ["groups"] },
          scopes: ["openid", "email", "roles", "offline_access"],
          cookies: { keys: ["a key of this test"] },
          features: {
            devInteractions: { enabled: true },
            backchannelLogout: { enabled: true },
            rpInitiatedLogout: { enabled: true },
            userinfo: { enabled: true }
          },
          pkce: { required: () => true },
          jwks: { keys: keys.map(keyOf) },
          ttl: { AccessToken: accessTokenFor },
          issueRefreshToken: () => true,
          rotateRefreshToken: true,
          findAccount: (_: unknown, id: string) => ({
            accountId: id,
            claims: () => ({ sub: id, email: `${id}@id.example`, email_verified: true, groups: ["editors", "staff"] })
          }),
          fetch: async (url: string | URL, options: RequestInit) => {
            const request = new Request(url, options)
            const body = await request.clone().text()
            const response = await deliver(request)
            delivered.push({ url: String(url), body, status: response.status })
            return response
          }
        })
        for (const event of ["server_error", "grant.error", "backchannel.error", "authorization.error"]) {
          provider.on(event, (...args) => errors.push(`${event} ${args.map(String).join(" ")}`))
        }
        return provider.callback()
      }
      let handler = make(["first"])
      server.on("request", (request, response) => handler(request, response))
      return {
        issuer,
        delivered,
        errors,
        rotate: (...keys: ReadonlyArray<string>) => Effect.sync(() => void (handler = make(keys))),
        stop: () =>
          new Promise<void>((resolve) => {
            server.closeAllConnections()
            server.close(() => resolve())
          })
      }
    }),
    ({ stop }) => Effect.promise(stop)
  )
