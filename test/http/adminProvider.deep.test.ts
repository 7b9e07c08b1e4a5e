/** Signing in to the admin page by a provider, in a browser. */
import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Browser, Page } from "playwright-core"
import { describeWithChromium } from "../services/available.ts"
import * as chromium from "../services/chromium.ts"
import { startProvider } from "./identityProvider.ts"
import { freePort, start } from "./oidcProcesses.ts"

const world = Effect.gen(function* () {
  const port = yield* freePort
  const origin = `http://127.0.0.1:${port}`
  const identity = yield* startProvider(
    [{ origin, name: "id", id: "the-app", secret: "the secret of the client" }],
    (request) => fetch(request)
  )
  yield* start({ port, origin, issuer: identity.issuer, store: "memory://admin" })
  return { origin, identity }
})

describeWithChromium("the admin page, by a provider", () => {
  let browser: Browser
  let server: Effect.Success<typeof world>
  const scope = Effect.runSync(Scope.make())

  beforeAll(async () => {
    server = await Effect.runPromise(Scope.provide(world, scope))
    browser = await chromium.launch()
  })

  afterAll(async () => {
    await browser?.close()
    await Effect.runPromise(Scope.close(scope, Exit.void))
  })

  /** Through the pages of the provider, back to where it began. */
  const atProvider = async (page: Page) => {
    await page.waitForURL(`${server.identity.issuer}/**`)
    await page.locator('input[name="login"]').fill("ana")
    await page.locator('input[name="password"]').fill("x")
    await page.locator('button[type="submit"]').click()
    await page.waitForURL(/interaction/)
    await page.locator('button[type="submit"]').click()
  }

  it("somebody signs in, writes, signs out; no script sees the session, and it opens nothing for other pages", async () => {
    const context = await browser.newContext({ locale: "en" })
    const page = await context.newPage()
    const complaints: Array<string> = []
    page.on("console", (message) => {
      const isOurs = message.location().url.startsWith(server.origin)
      if (isOurs && message.type() === "error" && !/status of 401/.test(message.text())) complaints.push(message.text())
    })
    page.on("pageerror", (error) => complaints.push(String(error)))
    await page.goto(`${server.origin}/admin`)
    await page.getByRole("link", { name: "Sign in with id" }).click()
    await atProvider(page)
    await page.getByRole("heading", { name: "Resources" }).waitFor()
    await page.getByText("id:ana").waitFor()
    assert.strictEqual(new URL(page.url()).pathname, "/admin")
    assert.strictEqual(await page.evaluate("document.cookie"), "")
    assert.notInclude(await page.evaluate<string>("JSON.stringify({ ...sessionStorage })"), "eyJ")
    // It is there after a reload, and writes.
    await page.reload()
    await page.getByRole("heading", { name: "Resources" }).waitFor()
    await page.evaluate('location.hash = "#/resources/notes/new"')
    await page.getByLabel("id required").fill("n1")
    await page.getByLabel("text required").fill("by a session")
    await page.getByRole("button", { name: /Create|Save/ }).click()
    await page.getByRole("heading", { name: "n1", level: 1 }).waitFor()
    // A session that has ended elsewhere is begun again in another tab, and what was at hand stays.
    await page.getByLabel("text required").fill("not saved yet")
    const cookies = await context.cookies()
    await context.clearCookies()
    await page.getByRole("button", { name: "Save" }).click()
    const dialog = page.getByRole("dialog", { name: "Your session is over" })
    await dialog.waitFor()
    const [other] = await Promise.all([
      context.waitForEvent("page"),
      dialog.getByRole("link", { name: "Sign in with id in another tab" }).click()
    ])
    await context.addCookies(cookies)
    await other.close()
    await dialog.getByRole("button", { name: "I have signed in there" }).click()
    await dialog.waitFor({ state: "detached" })
    assert.strictEqual(await page.getByLabel("text required").inputValue(), "not saved yet")
    await page.getByRole("button", { name: "Save" }).click()
    await page.locator(".toast").getByText("Saved").waitFor()
    // A page of another origin has the cookie sent, and is refused.
    const [session] = (await context.cookies()).filter(({ name }) => name === "__Host-s3db-session")
    const forged = await fetch(`${server.origin}/api/notes/n1`, {
      method: "DELETE",
      headers: { cookie: `${session!.name}=${session!.value}`, origin: "https://evil.example" }
    })
    assert.strictEqual(forged.status, 403)
    // All that there are, which it asks about first.
    await page.getByRole("button", { name: "Sign out everywhere" }).click()
    await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click()
    await page.getByRole("button", { name: "Sign out everywhere" }).click()
    await page.getByRole("dialog").getByRole("button", { name: "End all sessions" }).click()
    await page.getByText("You are signed out everywhere.").waitFor()
    const after = await fetch(`${server.origin}/api/-/admin`, {
      headers: { cookie: `${session!.name}=${session!.value}` }
    })
    assert.strictEqual(after.status, 401)
    await page.getByRole("link", { name: "Sign in with id" }).waitFor()
    assert.deepStrictEqual(complaints, [])
  })
})
