/** The admin page in a browser: what somebody does there, by mouse and by keys, and what is in its way. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, expect, it } from "@effect/vitest"
import axe, { type AxeResults } from "axe-core"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import type { Browser, BrowserContextOptions, Page } from "playwright-core"
import { describeWithChromium } from "../services/available.ts"
import * as chromium from "../services/chromium.ts"
import { hostile, password, secret, start } from "./adminServer.ts"

const images = fileURLToPath(new URL("../../docs/guide/images", import.meta.url))
const writesImages = process.env["S3DB_SCREENSHOTS"] === "1"

/** How fast a machine is decides nothing. */
const patience = { timeout: 120_000 }

/** What is asked of each view: WCAG 2.2 AA, and more. */
const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

type Server = Effect.Success<typeof start>

interface Visit {
  readonly page: Page
  /** Whatever the browser has to complain of, but refusals that were asked for. */
  readonly complaints: Array<string>
  /** The addresses and bodies of all requests. */
  readonly requests: Array<string>
}

describeWithChromium("the admin page in a browser", () => {
  let browser: Browser
  let server: Server
  const scope = Effect.runSync(Scope.make())
  const open: Array<Visit> = []

  beforeAll(async () => {
    server = await Effect.runPromise(Scope.provide(start, scope))
    browser = await chromium.launch()
  })

  afterAll(async () => {
    await browser?.close()
    await Effect.runPromise(Scope.close(scope, Exit.void))
  })

  const visit = async (options: BrowserContextOptions = {}): Promise<Visit> => {
    const context = await browser.newContext({ viewport: { width: 1000, height: 640 }, locale: "en", ...options })
    // What a policy stops is told to the page alone.
    await context.addInitScript(
      'addEventListener("securitypolicyviolation", (event) => console.error("policy: " + event.violatedDirective + " " + event.blockedURI))'
    )
    context.setDefaultTimeout(patience.timeout)
    const page = await context.newPage()
    const complaints: Array<string> = []
    const requests: Array<string> = []
    page.on("console", (message) => {
      const isRefusal = /^Failed to load resource: the server responded with a status of (401|404|412|422)/.test(
        message.text()
      )
      if (["error", "warning"].includes(message.type()) && !isRefusal) complaints.push(message.text())
    })
    page.on("pageerror", (error) => complaints.push(String(error)))
    page.on("dialog", (dialog) => {
      complaints.push(`a dialog: ${dialog.message()}`)
      void dialog.dismiss()
    })
    page.on("request", (request) => requests.push(`${request.method()} ${request.url()}`))
    await page.goto(`${server.url}/admin`)
    const one = { page, complaints, requests }
    open.push(one)
    return one
  }

  const signedIn = async (options?: BrowserContextOptions, key = server.key): Promise<Visit> => {
    const one = await visit(options)
    await one.page.getByLabel("Key (x-api-key)").check()
    await one.page.getByLabel("Key", { exact: true }).fill(key)
    await one.page.getByRole("button", { name: "Sign in" }).click()
    await one.page.getByRole("heading", { name: "Resources" }).waitFor()
    return one
  }

  const goTo = async ({ page }: Visit, fragment: string, heading: string): Promise<void> => {
    await page.evaluate(`location.hash = ${JSON.stringify(fragment)}`)
    await page.getByRole("heading", { name: heading, exact: true, level: 1 }).waitFor()
    await settled(page)
  }

  /** Until nothing is on its way any more. */
  const settled = async (page: Page): Promise<void> => {
    // What was begun is on its way by the next frame.
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")
    await page.getByText("Loading…").waitFor({ state: "detached" })
  }

  /** The word stays for a while, also that of the save before: what is saved can no longer be undone. */
  const isSaved = async (page: Page): Promise<void> => {
    await page.locator(".toast").getByText("Saved").waitFor()
    await expect.poll(() => page.getByRole("button", { name: "Undo changes" }).isDisabled(), patience).toBe(true)
  }

  const isAccessible = async ({ page }: Visit, where: string): Promise<void> => {
    await page.evaluate(axe.source)
    const found = await page.evaluate<AxeResults>(`axe.run({ runOnly: ${JSON.stringify(rules)} })`)
    assert.deepStrictEqual(
      found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`),
      [],
      where
    )
  }

  const fits = async ({ page }: Visit, where: string): Promise<void> => {
    const [wide, width] = await page.evaluate<[number, number]>("[document.documentElement.scrollWidth, innerWidth]")
    assert.isAtMost(wide, width, `${where} is wider than the screen`)
  }

  /** The browser makes a smaller picture of one than it takes. */
  const asWebp = async (png: Buffer): Promise<Buffer> => {
    const encoder = await browser.newPage()
    const text = await encoder.evaluate<string>(`(async () => {
      const bytes = Uint8Array.from(atob("${png.toString("base64")}"), (one) => one.charCodeAt(0))
      const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }))
      const canvas = new OffscreenCanvas(image.width, image.height)
      canvas.getContext("2d").drawImage(image, 0, 0)
      const made = await canvas.convertToBlob({ type: "image/webp", quality: 0.85 })
      return btoa(Array.from(new Uint8Array(await made.arrayBuffer()), (one) => String.fromCharCode(one)).join(""))
    })()`)
    await encoder.close()
    return Buffer.from(text, "base64")
  }

  const picture = async ({ page }: Visit, name: string): Promise<void> => {
    if (!writesImages) return
    mkdirSync(images, { recursive: true })
    const image = await asWebp(await page.screenshot())
    assert.isBelow(image.length, 60 * 1024, `${name} is too large for a page of the guide`)
    writeFileSync(join(images, `admin-${name}.webp`), image)
  }

  const isClean = ({ complaints }: Visit) => assert.deepStrictEqual(complaints, [])

  const person = async (id: string, change: object = {}) => {
    await Effect.runPromise(
      server.repository.replace({
        id,
        name: "Somebody",
        age: 30,
        country: "QA",
        role: "reader",
        isMember: true,
        ...change
      })
    )
    return id
  }

  const stored = (id: string) => Effect.runPromise(server.repository.get(id))

  describe("signing in", () => {
    it("is by a key, which is kept for the tab and is in no address", async () => {
      const one = await signedIn()
      const { page } = one
      await page.reload()
      await page.getByRole("heading", { name: "Resources" }).waitFor()
      for (const request of one.requests) assert.notInclude(request, server.key)
      assert.notInclude(page.url(), server.key)
      assert.deepStrictEqual(await page.context().cookies(), [])
      assert.strictEqual(await page.evaluate("localStorage.length"), 0)
      await page.getByRole("button", { name: "Sign out" }).click()
      await page.getByText("You are signed out.").waitFor()
      assert.strictEqual(await page.evaluate("sessionStorage.length"), 0)
      await page.reload()
      await page.getByRole("button", { name: "Sign in" }).waitFor()
      isClean(one)
    })

    it("is by name and password, and says in the words of the server why not", async () => {
      const one = await visit()
      const { page } = one
      await isAccessible(one, "sign in")
      await picture(one, "sign-in")
      await page.getByLabel("Account").check()
      await page.getByLabel("Name").fill("ana")
      await page.getByLabel("Password").fill("wrong")
      await page.getByRole("button", { name: "Sign in" }).click()
      await page.getByRole("alert").waitFor()
      assert.match(await page.getByRole("alert").innerText(), /wrong/)
      await isAccessible(one, "a failed sign in")
      await page.getByLabel("Password").fill(password)
      await page.getByRole("button", { name: "Sign in" }).click()
      await page.getByRole("heading", { name: "Resources" }).waitFor()
      const kept = await page.evaluate<string>("JSON.stringify({ ...sessionStorage })")
      assert.notInclude(kept, password)
      assert.notInclude(kept, "s3dbr_")
      isClean(one)
    })

    it("is over in every browser where somebody says so, for him alone", async () => {
      const login = async (name: string) => {
        const response = await fetch(`${server.url}/api/accounts/login`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ name, password })
        })
        return ((await response.json()) as { readonly refreshToken: string }).refreshToken
      }
      const refreshed = async (refreshToken: string) => {
        const headers = { "content-type": "application/json" }
        const body = JSON.stringify({ refreshToken })
        return (await fetch(`${server.url}/api/accounts/refresh`, { method: "POST", headers, body })).status
      }
      // Another browser of the same, one of somebody else.
      const [elsewhere, ofBob] = [await login("ana"), await login("bob")]
      const one = await visit()
      const { page } = one
      await page.getByLabel("Account").check()
      await page.getByLabel("Name").fill("ana")
      await page.getByLabel("Password").fill(password)
      const [answered] = await Promise.all([
        page.waitForResponse("**/accounts/login"),
        page.getByRole("button", { name: "Sign in" }).click()
      ])
      const { refreshToken: here } = (await answered.json()) as { readonly refreshToken: string }
      await page.getByRole("heading", { name: "Resources" }).waitFor()
      await page.getByRole("button", { name: "Sign out everywhere" }).click()
      const dialog = page.getByRole("dialog")
      await dialog.waitFor()
      await isAccessible(one, "signing out everywhere")
      await dialog.getByRole("button", { name: "Cancel" }).click()
      await dialog.waitFor({ state: "detached" })
      await page.getByRole("button", { name: "Sign out everywhere" }).click()
      await dialog.getByRole("button", { name: "End all sessions" }).click()
      await page.getByText("You are signed out everywhere.").waitFor()
      assert.strictEqual(await page.evaluate("sessionStorage.length"), 0)
      assert.strictEqual(await refreshed(elsewhere), 401)
      assert.strictEqual(await refreshed(here), 401)
      assert.strictEqual(await refreshed(ofBob), 200)
      isClean(one)
    })

    it("is for administrators", async () => {
      const one = await visit()
      const { page } = one
      await page.getByLabel("Account").check()
      await page.getByLabel("Name").fill("bob")
      await page.getByLabel("Password").fill(password)
      await page.getByRole("button", { name: "Sign in" }).click()
      await page.getByText("this is for administrators").waitFor()
      assert.strictEqual(await page.evaluate("sessionStorage.length"), 0)
    })
  })

  describe("resources", () => {
    it("have counts and sizes", async () => {
      const one = await signedIn()
      const { page } = one
      const row = page.getByRole("row", { name: /^people/ })
      await row.getByText("documents 2,5").waitFor()
      assert.match(await row.innerText(), /2,5\d\d\s+\d+ KB/)
      await page.getByRole("row", { name: /^members/ }).waitFor()
      await isAccessible(one, "overview")
      await picture(one, "resources")
      isClean(one)
    })

    it("are browsed by cursor, 2,500 documents to the end and back", async () => {
      const one = await signedIn()
      const { page } = one
      await goTo(one, "#/resources/people?limit=1000&order=id", "people")
      const rows = page.locator("table.documents tbody tr")
      const ids = new Set<string>()
      for (let number = 1; ; number++) {
        await page.getByText(`Page ${number}`, { exact: true }).waitFor()
        await settled(page)
        for (const id of await page.locator("table.documents tbody th").allInnerTexts()) ids.add(id)
        const next = page.getByRole("button", { name: "Next page" })
        if (await next.isDisabled()) break
        await next.click()
      }
      assert.isAtLeast(ids.size, 2506)
      await page.getByRole("button", { name: "Previous page" }).click()
      await expect.poll(() => rows.count(), patience).toBe(1000)
      await page.getByRole("button", { name: "Count all" }).click()
      await page.getByText(/^2,5\d\d documents$/).waitFor()
      isClean(one)
    })

    it("are filtered by conditions, by JSON and by a partition, which stand in the address", async () => {
      const one = await signedIn()
      const { page } = one
      await goTo(one, "#/resources/people", "people")
      for (const [field, comparison, value] of [
        ["country", "eq", "JP"],
        ["age", "gte", "80"],
        ["isMember", "eq", "true"]
      ] as const) {
        await page.getByRole("button", { name: "Add a condition" }).click()
        await page.getByLabel("Field").last().selectOption(field)
        await page.getByLabel("Comparison").last().selectOption(comparison)
        await page.getByLabel("Value").last().fill(value)
      }
      await page.getByRole("button", { name: "Search" }).click()
      await page.getByRole("link", { name: "p0088", exact: true }).waitFor()
      await page.getByRole("button", { name: "Count all" }).click()
      const wanted = Array.from({ length: 2500 }, (_, i) => i).filter((i) => i % 5 === 3 && i % 90 >= 80 && i % 2 === 0)
      await page.getByText(`${wanted.length} documents`, { exact: true }).waitFor()
      await isAccessible(one, "a filter")
      await picture(one, "browse")
      // It is there again in another tab, and after going back.
      await page.reload()
      await page.getByRole("link", { name: "p0088", exact: true }).waitFor()
      assert.strictEqual(await page.getByLabel("Value").first().inputValue(), "JP")
      await page.getByRole("button", { name: "As JSON" }).click()
      await page.getByLabel("Filter (JSON)").fill('{"name":{"nonsense":1}}')
      await page.getByRole("button", { name: "Search" }).click()
      await page.getByRole("alert").waitFor()
      await isAccessible(one, "a filter that is refused")
      await page.getByRole("button", { name: "Clear" }).click()
      await page.getByRole("link", { name: "p0000", exact: true }).waitFor()
      await page.getByLabel("Partition").selectOption("byCountry")
      await page.getByLabel("country", { exact: true }).first().fill("DE")
      await page.getByRole("button", { name: "Search" }).click()
      await page.getByRole("link", { name: "p0001", exact: true }).waitFor()
      await page.getByRole("link", { name: "p0000", exact: true }).waitFor({ state: "detached" })
      isClean(one)
    })
  })

  describe("a document", () => {
    it("is created, with what the server says of each field beside it", async () => {
      const one = await signedIn()
      const { page } = one
      await goTo(one, "#/resources/people/new", "New in people")
      await isAccessible(one, "an empty form")
      await page.getByLabel("id required").fill("new-one")
      await page.getByLabel("age required").fill("old")
      await page.getByRole("button", { name: "Create" }).click()
      await page.getByText("Expected a number").first().waitFor()
      await page.getByLabel("age required").fill("151")
      await page.getByRole("button", { name: "Create" }).click()
      const wrong = page.locator(".field.wrong")
      await wrong.filter({ hasText: "name" }).first().waitFor()
      assert.include(await wrong.allInnerTexts().then((all) => all.join("\n")), "150")
      assert.strictEqual(await page.getByLabel("age required").getAttribute("aria-invalid"), "true")
      await isAccessible(one, "a form with errors")
      await picture(one, "errors")
      // The list of what is wrong leads to the field.
      await page.getByRole("alert").getByRole("button", { name: "name" }).click()
      assert.strictEqual(await page.evaluate("document.activeElement?.getAttribute('name')"), "name")
      await page.getByLabel("name required").fill("Newcomer")
      await page.getByLabel("age required").fill("15")
      await page.getByLabel("has a value (address)").check()
      await page.getByLabel("city required").fill("Olinda")
      await page.getByLabel("has a value (tags)").check()
      await page.getByLabel("tags", { exact: true }).fill('["a", "b"]')
      await page.getByLabel("has a value (extra)").check()
      await page.getByLabel("extra", { exact: true }).fill('{"__proto__":"x"}')
      await page.getByRole("button", { name: "Create" }).click()
      await page.locator(".field.wrong").filter({ hasText: "__proto__" }).waitFor()
      await page.getByLabel("extra", { exact: true }).fill('{"constructor":"x"}')
      await page.getByRole("button", { name: "Create" }).click()
      await page.getByRole("heading", { name: "new-one", level: 1 }).waitFor()
      const { address, age, extra, tags } = await stored("new-one")
      assert.deepStrictEqual([address?.city, age, extra?.["constructor"], tags], ["Olinda", 15, "x", ["a", "b"]])
      isClean(one)
    })

    it("is changed by what has changed alone, and secrets are written and never shown", async () => {
      const one = await signedIn()
      const { page } = one
      await goTo(one, "#/resources/people/id/p0001", "p0001")
      assert.notInclude(await page.content(), secret)
      let sent: unknown
      page.on("request", (request) => {
        if (request.method() === "PATCH") sent = request.postDataJSON()
      })
      await page.getByLabel("name required").fill("Anna")
      await page.getByLabel("has a value (email)").check()
      await page.getByLabel("email", { exact: true }).fill("anna@example.com")
      await page.getByRole("button", { name: "Save" }).click()
      await isSaved(page)
      assert.deepStrictEqual(sent, { name: "Anna", email: "anna@example.com" })
      await page.getByLabel("has a value (email)").uncheck()
      await page.getByLabel("change (token)").check()
      await page.getByLabel("token", { exact: true }).fill("a new secret")
      await page.getByRole("button", { name: "Save" }).click()
      await expect.poll(() => page.getByLabel("token", { exact: true }).isDisabled(), patience).toBe(true)
      assert.deepStrictEqual(sent, { email: null, token: "a new secret" })
      assert.notProperty(await stored("p0001"), "email")
      assert.notInclude(await page.content(), "a new secret")
      // A unique value that somebody has.
      await page.getByLabel("has a value (email)").check()
      await page.getByLabel("email", { exact: true }).fill("p3@example.com")
      await page.getByRole("button", { name: "Save" }).click()
      await page.getByRole("alert").waitFor()
      one.complaints.splice(0, one.complaints.length, ...one.complaints.filter((text) => !/status of 409/.test(text)))
      isClean(one)
    })

    it("that somebody else has changed is a choice: theirs, mine, or field by field", async () => {
      const one = await signedIn()
      const { page } = one
      const id = await person("conflict", { address: { city: "Recife" } })
      const begin = async (): Promise<void> => {
        await goTo(one, "#/", "Resources")
        await person(id, { name: "Before", age: 30, address: { city: "Recife" } })
        await goTo(one, `#/resources/people/id/${id}`, id)
        await page.getByLabel("name required").fill("Mine")
        await page.getByLabel("has a value (email)").check()
        await page.getByLabel("email", { exact: true }).fill("mine@example.com")
        await Effect.runPromise(server.repository.update(id, { name: "Theirs", age: 31 }))
        await page.getByRole("button", { name: "Save" }).click()
        await page.getByRole("dialog", { name: "Somebody else has changed this document" }).waitFor()
      }

      await begin()
      await isAccessible(one, "a conflict")
      await page.getByRole("button", { name: "Take theirs" }).click()
      assert.strictEqual(await page.getByLabel("name required").inputValue(), "Theirs")
      assert.strictEqual((await stored(id)).name, "Theirs")

      await begin()
      await page.getByRole("button", { name: "Save mine" }).click()
      await isSaved(page)
      // Mine is over theirs where I have changed something, and nowhere else.
      const saved = await stored(id)
      assert.deepStrictEqual([saved.name, saved.age, saved.email], ["Mine", 31, "mine@example.com"])

      await begin()
      await page.getByRole("button", { name: "Look at the differences" }).click()
      const differences = page.getByRole("region", { name: "Differences" })
      assert.match(await differences.innerText(), /name both changed it/)
      const save = page.getByRole("button", { name: "Save what is chosen" })
      assert.isTrue(await save.isDisabled())
      await isAccessible(one, "differences")
      await picture(one, "conflict")
      await differences.getByRole("row", { name: /^name/ }).getByLabel("Theirs").check()
      await save.click()
      await page.getByRole("dialog").waitFor({ state: "detached" })
      await isSaved(page)
      const mixed = await stored(id)
      assert.deepStrictEqual([mixed.name, mixed.age, mixed.email], ["Theirs", 31, "mine@example.com"])

      // Changed again between the look and the choice: it is asked again, and nothing is lost.
      await begin()
      await Effect.runPromise(server.repository.update(id, { age: 40 }))
      await page.getByRole("button", { name: "Save mine" }).click()
      await page.getByRole("dialog", { name: "Somebody else has changed this document" }).waitFor()
      assert.strictEqual((await stored(id)).age, 40)
      await page.getByRole("button", { name: "Save mine" }).click()
      await page.getByRole("dialog").waitFor({ state: "detached" })
      await expect.poll(() => page.getByLabel("age required").inputValue(), patience).toBe("40")
      isClean(one)
    })

    it("that is gone by now is told to be, and the form stays", async () => {
      const one = await signedIn()
      const { page } = one
      const id = await person("gone")
      await goTo(one, `#/resources/people/id/${id}`, id)
      await page.getByLabel("name required").fill("Late")
      await Effect.runPromise(server.repository.delete(id))
      await page.getByRole("button", { name: "Save" }).click()
      await page.getByRole("dialog", { name: "The document is gone" }).waitFor()
      await isAccessible(one, "a document that is gone")
      await page.getByRole("button", { name: "Back to the form" }).click()
      assert.strictEqual(await page.getByLabel("name required").inputValue(), "Late")
      isClean(one)
    })

    it("has a history with differences", async () => {
      const one = await signedIn()
      const { page } = one
      const id = await person("history", { name: "First" })
      await Effect.runPromise(server.repository.update(id, { name: "Second" }))
      await Effect.runPromise(server.repository.update(id, { name: "Third", age: 31 }))
      await goTo(one, `#/resources/people/id/${id}/history`, id)
      const differences = page.getByRole("region", { name: "Differences" })
      await differences.getByRole("row", { name: "name Second Third" }).waitFor()
      await differences.getByRole("row", { name: "age 30 31" }).waitFor()
      await isAccessible(one, "history")
      await picture(one, "history")
      await page.getByLabel("From version").selectOption("1")
      await differences.getByRole("row", { name: "name First Third" }).waitFor()
      isClean(one)
    })

    it("has content that is uploaded, downloaded and deleted", async () => {
      const one = await signedIn()
      const { page } = one
      const id = await person("content")
      await goTo(one, `#/resources/people/id/${id}/content`, id)
      await page.getByText("This document has no content.").waitFor()
      await page.getByRole("button", { name: "Upload" }).click()
      await page.getByText("Choose a file first.").waitFor()
      const buffer = Buffer.from("<script>alert(6)</script>")
      await page.getByLabel("File").setInputFiles({ name: "page.html", mimeType: "text/html", buffer })
      await page.getByRole("button", { name: "Upload" }).click()
      await page.getByText("text/html").waitFor()
      await page.getByText(`${buffer.length} bytes`).waitFor()
      await isAccessible(one, "content")
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        page.getByRole("button", { name: "Download" }).click()
      ])
      const chunks: Array<Buffer> = []
      for await (const chunk of await download.createReadStream()) chunks.push(chunk as Buffer)
      assert.deepStrictEqual(Buffer.concat(chunks), buffer)
      await page.getByRole("button", { name: "Delete content" }).click()
      await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click()
      await page.getByText("This document has no content.").waitFor()
      isClean(one)
    })

    it("is deleted when somebody has said yes, alone and with others", async () => {
      const one = await signedIn()
      const { page } = one
      for (const id of ["delete-1", "delete-2", "delete-3"]) await person(id)
      await goTo(one, "#/resources/people/id/delete-1", "delete-1")
      await page.getByRole("button", { name: "Delete" }).click()
      const dialog = page.getByRole("dialog", { name: "Delete this document?" })
      await isAccessible(one, "a deletion")
      await dialog.getByRole("button", { name: "Cancel" }).click()
      assert.strictEqual((await stored("delete-1")).id, "delete-1")
      await page.getByRole("button", { name: "Delete" }).click()
      await dialog.getByRole("button", { name: "Delete" }).click()
      await page.getByRole("heading", { name: "people", level: 1 }).waitFor()
      assert.isFalse(await Effect.runPromise(server.repository.exists("delete-1")))
      await goTo(one, `#/resources/people?filter=${encodeURIComponent('{"country":{"eq":"QA"}}')}`, "people")
      await page.getByLabel("Choose delete-2").check()
      await page.getByLabel("Choose delete-3").check()
      await page.getByRole("button", { name: "Delete 2 chosen" }).click()
      await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click()
      await page.getByRole("link", { name: "delete-2" }).waitFor({ state: "detached" })
      assert.isFalse(await Effect.runPromise(server.repository.exists("delete-3")))
      isClean(one)
    })

    it("is deleted with others by the revision that was seen: what somebody has changed stays, and is told", async () => {
      const one = await signedIn()
      const { page } = one
      for (const id of ["kept-1", "kept-2", "kept-3"]) await person(id, { country: "QB" })
      await goTo(one, `#/resources/people?filter=${encodeURIComponent('{"country":{"eq":"QB"}}')}`, "people")
      for (const id of ["kept-1", "kept-2", "kept-3"]) await page.getByLabel(`Choose ${id}`).check()
      // Meanwhile one is changed, and one is gone.
      await person("kept-2", { country: "QB", age: 77 })
      await Effect.runPromise(server.repository.delete("kept-3"))
      await page.getByRole("button", { name: "Delete 3 chosen" }).click()
      await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click()
      await page
        .getByRole("alert")
        .getByText(/kept-2$/)
        .waitFor()
      await page.getByRole("link", { name: "kept-1" }).waitFor({ state: "detached" })
      await isAccessible(one, "a deletion that left one")
      assert.strictEqual((await stored("kept-2")).age, 77)
      assert.isFalse(await Effect.runPromise(server.repository.exists("kept-1")))
      const sent = one.requests.filter((request) => !request.startsWith("GET"))
      assert.deepStrictEqual(sent, [`POST ${server.url}/api/people/-/bulk-delete`])
      // Seen again, it can be deleted.
      await page.getByLabel("Choose kept-2").check()
      await page.getByRole("button", { name: "Delete 1 chosen" }).click()
      await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click()
      await page.getByText("No documents.").waitFor()
      assert.strictEqual(await page.getByRole("alert").count(), 0)
      isClean(one)
    })

    it("that no URL can name is listed, and not taken for another", async () => {
      const one = await signedIn()
      const { page } = one
      await goTo(one, `#/resources/people?filter=${encodeURIComponent('{"country":{"eq":"XY"}}')}`, "people")
      assert.isTrue(await page.getByLabel("Choose ..").isDisabled())
      await page.getByRole("link", { name: "..", exact: true }).click()
      await page.getByText("No URL can name this id.").waitFor()
      await isAccessible(one, "an id that no URL can name")
      for (const request of one.requests) assert.notMatch(request, /\/api\/?$/)
      isClean(one)
    })

    it("is shown as it is, whatever it says", async () => {
      const one = await signedIn()
      const { page } = one
      const all = `#/resources/people?${new URLSearchParams({ filter: '{"country":{"eq":"<b>XX</b>"}}' })}`
      for (const { id, name } of hostile) {
        await goTo(one, all, "people")
        const shown = id.replace("\u202e", "\\u202e")
        const row = page.getByRole("row").filter({ has: page.getByRole("link", { name: shown, exact: true }) })
        assert.include(await row.innerText(), "<b>XX</b>")
        await row.getByRole("link").click()
        await page.getByRole("heading", { name: shown, exact: true, level: 1 }).waitFor()
        await settled(page)
        assert.strictEqual(await page.getByLabel("name required").inputValue(), name)
        assert.include(await page.getByLabel("extra", { exact: true }).inputValue(), "<i>own</i>")
        await page.getByLabel("age required").fill("2")
        await page.getByRole("button", { name: "Save" }).click()
        await isSaved(page)
        assert.deepInclude(await stored(id), { id, name, age: 2, country: "<b>XX</b>" })
        await page.getByRole("link", { name: "History" }).click()
        await page.getByRole("row", { name: "age 1 2" }).waitFor()
      }
      assert.strictEqual(await page.locator("b, i:not([class]), u, img, script:not([src])").count(), 0)
      isClean(one)
    })
  })

  describe("the rest", () => {
    it("tells of plugins, costs and the store", async () => {
      const one = await signedIn()
      const { page } = one
      await goTo(one, "#/plugins", "Plugins")
      await page
        .getByRole("row", { name: /queue reminders/ })
        .getByText("ready 3")
        .waitFor()
      await page.getByText("Entries that wait to be journaled").waitFor()
      await page
        .getByRole("region", { name: "Leases" })
        .getByRole("row", { name: /^journal (held|free)/ })
        .waitFor()
      await isAccessible(one, "plugins")
      await picture(one, "plugins")
      await goTo(one, "#/costs", "Costs")
      await page
        .getByRole("row", { name: /people.*insertMany.*put/ })
        .first()
        .waitFor()
      await isAccessible(one, "costs")
      await goTo(one, "#/store", "Store")
      await page.getByRole("row", { name: /Replaces only what was read yes/ }).waitFor()
      await isAccessible(one, "store")
      for (const nowhere of ["#/nothing", "#/resources/%", "#/resources/nobody", "#/resources/__proto__"]) {
        await page.evaluate(`location.hash = ${JSON.stringify(nowhere)}`)
        await page.getByRole("heading", { level: 1, name: /^(There is nothing here|No resource)/ }).waitFor()
      }
      isClean(one)
    })

    it("is used by keys alone", async () => {
      const one = await visit()
      const { page } = one
      const press = async (...keys: ReadonlyArray<string>) => {
        for (const key of keys) await page.keyboard.press(key)
      }
      const focused = () => page.evaluate<string>("document.activeElement?.textContent ?? ''")
      /** Goes on to what is wanted, as somebody who cannot see where it is. */
      const tabTo = async (text: string): Promise<void> => {
        for (let i = 0; i < 60; i++) {
          await press("Tab")
          const found = await page.evaluate<string>(
            "document.activeElement?.labels?.[0]?.textContent ?? document.activeElement?.textContent ?? ''"
          )
          if (found.trim().startsWith(text)) return
        }
        assert.fail(`nothing is called ${text}: ${await focused()}`)
      }
      // Ways to sign in are a group of radio buttons.
      await tabTo("Account")
      await press("ArrowDown", "ArrowDown")
      await tabTo("Key")
      await page.keyboard.type(server.key)
      await press("Enter")
      await page.getByRole("heading", { name: "Resources" }).waitFor()
      assert.strictEqual(await focused(), "Resources")
      await tabTo("people")
      await press("Enter")
      await page.getByRole("heading", { name: "people", level: 1 }).waitFor()
      await settled(page)
      // Above the heading there are links that every view has.
      await press("Shift+Tab", "Shift+Tab", "Shift+Tab", "Shift+Tab", "Shift+Tab", "Shift+Tab")
      assert.strictEqual(await focused(), "Skip to the content")
      await press("Enter")
      assert.strictEqual(await page.evaluate("document.activeElement?.id"), "main")
      await tabTo("p0002")
      await press("Enter")
      await page.getByRole("heading", { name: "p0002", level: 1 }).waitFor()
      await settled(page)
      await tabTo("name")
      await press("Control+a")
      await page.keyboard.type("By keys")
      await press("Enter")
      await isSaved(page)
      assert.strictEqual((await stored("p0002")).name, "By keys")
      await tabTo("Delete")
      await press("Enter")
      await page.getByRole("dialog").waitFor()
      // The focus stays in the dialog, and comes back.
      await press("Tab", "Tab", "Tab", "Tab")
      await press("Escape")
      await page.getByRole("dialog").waitFor({ state: "detached" })
      await expect.poll(focused, patience).toBe("Delete")
      assert.strictEqual((await stored("p0002")).name, "By keys")
      isClean(one)
    })

    it("fits on a phone, and can be read in the dark", async () => {
      for (const colorScheme of ["light", "dark"] as const) {
        const one = await signedIn({
          viewport: { width: 360, height: 740 },
          colorScheme,
          isMobile: true,
          hasTouch: true
        })
        const { page } = one
        const id = await person("phone", { name: "A".repeat(300), email: `${"b".repeat(200)}@example.com` })
        await Effect.runPromise(server.repository.update(id, { name: "B".repeat(300) }))
        for (const [fragment, heading] of [
          ["#/", "Resources"],
          ["#/resources/people?partition=byCountry", "people"],
          ["#/resources/people/new", "New in people"],
          [`#/resources/people/id/${id}`, id],
          [`#/resources/people/id/${id}/history`, id],
          [`#/resources/people/id/${id}/content`, id],
          ["#/plugins", "Plugins"],
          ["#/costs", "Costs"],
          ["#/store", "Store"]
        ] as const) {
          await goTo(one, fragment, heading)
          await page.locator("main").getByText(/./).first().waitFor()
          await fits(one, `${fragment} (${colorScheme})`)
          await isAccessible(one, `${fragment} (${colorScheme})`)
        }
        const ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert.strictEqual(ground === "rgb(255, 255, 255)", colorScheme === "light")
        if (colorScheme === "dark") {
          await goTo(one, "#/resources/people/id/p0004", "p0004")
          await picture(one, "phone")
        }
        isClean(one)
      }
    })

    it("asks before what is not saved is left, and signs in again above it", async () => {
      const { issued, key } = await Effect.runPromise(server.keys.issue({ user: "ops", roles: ["admin"] }))
      const one = await signedIn({}, Redacted.value(key))
      const { page } = one
      const id = await person("unsaved")
      await goTo(one, `#/resources/people/id/${id}`, id)
      await page.getByLabel("name required").fill("Not yet")
      await page.getByRole("link", { name: "History" }).click()
      const dialog = page.getByRole("dialog", { name: "Leave without saving?" })
      await isAccessible(one, "leaving")
      await dialog.getByRole("button", { name: "Cancel" }).click()
      assert.include(page.url(), `/id/${id}`)
      assert.strictEqual(await page.getByLabel("name required").inputValue(), "Not yet")
      await Effect.runPromise(server.keys.revoke(issued.id))
      await page.getByRole("button", { name: "Save" }).click()
      const again = page.getByRole("dialog", { name: "Your session is over" })
      await again.getByLabel("Key (x-api-key)").check()
      await isAccessible(one, "a session that is over")
      await again.getByLabel("Key", { exact: true }).fill("s3db_wrong")
      await again.getByRole("button", { name: "Sign in" }).click()
      await again.getByRole("alert").waitFor()
      await again.getByLabel("Key", { exact: true }).fill(server.key)
      await again.getByRole("button", { name: "Sign in" }).click()
      await again.waitFor({ state: "detached" })
      assert.strictEqual(await page.getByLabel("name required").inputValue(), "Not yet")
      await page.getByRole("button", { name: "Save" }).click()
      await isSaved(page)
      assert.strictEqual((await stored(id)).name, "Not yet")
      // Saved, it is left without a question; and with one where somebody wants to go.
      await page.getByRole("link", { name: "History" }).click()
      await page.getByRole("row", { name: "name Somebody Not yet" }).waitFor()
      await page.getByRole("link", { name: "Fields" }).click()
      await page.getByLabel("name required").fill("Never")
      await page.getByRole("link", { name: "Store" }).click()
      await dialog.getByRole("button", { name: "Leave" }).click()
      await page.getByRole("heading", { name: "Store", level: 1 }).waitFor()
      assert.strictEqual((await stored(id)).name, "Not yet")
      isClean(one)
    })

    it("is over when the key is revoked", async () => {
      const one = await signedIn()
      const { page } = one
      const other = JSON.stringify(JSON.stringify({ header: "x-api-key", value: "s3db_nobody" }))
      await page.evaluate(`for (const name of Object.keys(sessionStorage)) sessionStorage.setItem(name, ${other})`)
      await page.reload()
      await page.getByText("Your session is over: sign in again.").waitFor()
      assert.strictEqual(await page.evaluate("sessionStorage.length"), 0)
      isClean(one)
    })
  })
})
