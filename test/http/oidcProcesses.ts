/** Servers of `oidcProcess.ts`, a provider, and browsers that ask either of them. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Browser, Page } from "./browser.ts"
import type { Told } from "./oidcProcess.ts"

const program = fileURLToPath(new URL("oidcProcess.ts", import.meta.url))

/** A port that was free a moment ago. */
export const freePort = Effect.promise(async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
})

export interface Started {
  readonly child: ChildProcess
  /** Asks this server for what is for the origin. */
  readonly ask: (request: Request) => Promise<Response>
}

export const start = Effect.fnUntraced(function* (
  told: Told
): Effect.fn.Return<Started, never, import("effect/Scope").Scope> {
  const child = spawn(
    process.execPath,
    ["--conditions=effect-s3db-source", "--no-warnings", program, JSON.stringify(told)],
    { stdio: ["ignore", "pipe", "inherit"] }
  )
  yield* Effect.addFinalizer(() => Effect.sync(() => child.kill("SIGKILL")))
  yield* Effect.promise(() => once(child.stdout, "data"))
  return {
    child,
    ask: async (request) => {
      const body = request.method === "POST" ? await request.text() : undefined
      return fetch(request.url.replace(told.origin, `http://127.0.0.1:${told.port}`), {
        method: request.method,
        headers: request.headers,
        redirect: "manual",
        ...(body === undefined ? {} : { body })
      })
    }
  }
})

/** From a page of the provider to the address that it sends the browser back to, which is not asked yet. */
export const pass = Effect.fnUntraced(function* (browser: Browser, from: Page, name: string, home: string) {
  let page = from
  for (let i = 0; i < 4; i++) {
    page = yield* browser.follow(page, (url) => url.startsWith(home))
    const to = browser.next(page)
    if (to !== undefined) return to
    page = yield* browser.submit(page, /name="login"/.test(page.text) ? { login: name, password: "x" } : {})
  }
  return assert.fail(`the provider did not come to an end: ${page.text.slice(0, 300)}`)
})
