/** A browser without a window: cookies, redirects, forms. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"

export interface Page {
  readonly url: string
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

type Fetch = (request: Request) => Promise<Response>

/**
 * `sites` answers for origins that have no socket; others are asked over HTTP. Cookies of a browser are by origin, as all of them are `__Host-` here,
 * or of a provider with a port of its own.
 */
export const makeBrowser = (sites: Readonly<Record<string, Fetch>>) => {
  const jars = new Map<string, Map<string, string>>()
  const jarOf = (origin: string) => {
    const jar = jars.get(origin) ?? new Map<string, string>()
    jars.set(origin, jar)
    return jar
  }

  const take = (origin: string, headers: Headers) => {
    for (const line of headers.getSetCookie()) {
      const [pair = "", ...attributes] = line.split(";").map((part) => part.trim())
      const at = pair.indexOf("=")
      const name = pair.slice(0, at)
      const isGone =
        pair.slice(at + 1) === "" ||
        attributes.some((one) => /^max-age=0$/i.test(one)) ||
        attributes.some((one) => /^expires=/i.test(one) && Date.parse(one.slice(8)) <= 0)
      if (isGone) jarOf(origin).delete(name)
      else jarOf(origin).set(name, pair.slice(at + 1))
    }
  }

  /** One request; nothing is followed. */
  const send = (method: string, url: string, body?: URLSearchParams, headers: Record<string, string> = {}) =>
    Effect.promise(async (): Promise<Page> => {
      const { origin } = new URL(url)
      const cookie = [...jarOf(origin)].map(([name, value]) => `${name}=${value}`).join("; ")
      const request = new Request(url, {
        method,
        redirect: "manual",
        headers: { ...(cookie === "" ? {} : { cookie }), accept: "text/html", ...headers },
        ...(body === undefined ? {} : { body })
      })
      const response = await (sites[origin] ?? fetch)(request)
      take(origin, response.headers)
      return { url, status: response.status, headers: response.headers, text: await response.text() }
    })

  const next = ({ headers, status, url }: Page): string | undefined =>
    status >= 300 && status < 400 ? new URL(headers.get("location") ?? "", url).href : undefined

  /** Follows redirects until `until` says that this address is not to be asked. */
  const follow = Effect.fnUntraced(function* (from: Page, until: (url: string) => boolean = () => false) {
    let page = from
    for (let i = 0; i < 20; i++) {
      const to = next(page)
      if (to === undefined || until(to)) return page
      page = yield* send("GET", to)
    }
    return assert.fail("redirects without an end")
  })

  /** Sends the first form of a page, with what is typed into it. */
  const submit = (page: Page, typed: Readonly<Record<string, string>> = {}) => {
    const [, action] = /<form[^>]*action="([^"]+)"/.exec(page.text) ?? []
    if (action === undefined) return assert.fail(`no form: ${page.status} ${page.text.slice(0, 400)}`)
    const fields = new URLSearchParams()
    for (const [input] of page.text.matchAll(/<(?:input|button)[^>]*>/g)) {
      const [, name] = /name="([^"]+)"/.exec(input) ?? []
      const [, value = ""] = /value="([^"]*)"/.exec(input) ?? []
      if (name !== undefined) fields.set(name, value)
    }
    for (const [name, value] of Object.entries(typed)) fields.set(name, value)
    return send("POST", new URL(action.replaceAll("&amp;", "&"), page.url).href, fields, {
      origin: new URL(page.url).origin
    })
  }

  return { send, follow, submit, next, cookies: (origin: string) => jarOf(origin) }
}

export type Browser = ReturnType<typeof makeBrowser>
