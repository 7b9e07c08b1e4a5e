/** Requests to the API, with the credentials of whoever is signed in. A cookie goes with them only where somebody has signed in by a provider. */
import { at, type Issue, isObject, type Json, type JsonObject, type Resource } from "./model.ts"

export type Way = { readonly way: "bearer" | "basic" } | { readonly way: "header"; readonly header: string }

export interface Config {
  readonly api: string
  readonly title: string
  readonly ways: ReadonlyArray<Way>
  readonly hasAccounts: boolean
  /** Where this page is. */
  readonly page: string
  /** Those that somebody can sign in by, and where. */
  readonly providers: ReadonlyArray<{ readonly name: string; readonly login: string }>
  readonly logout?: string
}

export interface Session {
  readonly user: { readonly id: string; readonly roles: ReadonlyArray<string>; readonly scopes: ReadonlyArray<string> }
  readonly hasCosts: boolean
  readonly resources: ReadonlyArray<Resource>
  readonly others: ReadonlyArray<{ readonly name: string; readonly version: number; readonly fields: number }>
}

/** An answer that is no success, in the words of the server. */
export class Failure extends Error {
  readonly status: number
  readonly code: string
  readonly issues: ReadonlyArray<Issue>
  readonly requestId: string

  constructor(status: number, problem: Json | undefined) {
    const text = (name: string): string => {
      const value = at(problem, name)
      return typeof value === "string" ? value : ""
    }
    super(
      text("detail") ||
        text("title") ||
        (status === 0 ? "the server cannot be reached" : `the server answered ${status}`)
    )
    this.status = status
    this.code = text("code")
    this.requestId = text("requestId")
    const issues = at(problem, "issues")
    this.issues = Array.isArray(issues)
      ? issues.flatMap((one: Json): ReadonlyArray<Issue> => {
          const [path, message] = [at(one, "path"), at(one, "message")]
          return Array.isArray(path) && typeof message === "string"
            ? [{ path: path.map((part: Json) => (typeof part === "number" ? part : String(part))), message }]
            : []
        })
      : []
  }
}

export const readConfig = (): Config =>
  JSON.parse(document.querySelector('meta[name="admin"]')?.getAttribute("content") ?? "{}") as Config

/** What goes with requests: a header, or the cookie of a session, which no script can read. */
type Credentials = { readonly header: string; readonly value: string } | "session"

interface Tokens {
  readonly accessToken: string
  readonly refreshToken?: string
}

export interface Options {
  readonly method?: string
  readonly body?: Json
  readonly file?: Blob
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly json: Json
}

export class Client {
  readonly config: Config
  /** Told when credentials do not count any more. */
  onSignedOut: () => void = () => {}
  #credentials: Credentials | undefined
  /** In the memory of one page only: a copy of the tab that used it, too, would end the session of both. */
  #refreshToken: string | undefined
  #refreshing: Promise<boolean> | undefined
  readonly #place: string

  constructor(config: Config) {
    this.config = config
    this.#place = `s3db admin ${config.api}`
    const kept = sessionStorage.getItem(this.#place)
    if (kept !== null) {
      const found = parsed(kept)
      if (found === "session" && config.providers.length > 0) this.#credentials = "session"
      const [header, value] = [at(found, "header"), at(found, "value")]
      if (typeof header === "string" && typeof value === "string") this.#credentials = { header, value }
    }
  }

  get hasCredentials(): boolean {
    return this.#credentials !== undefined
  }

  /** Keeps credentials for the tab, but a password: that counts until somebody changes it. */
  #use(credentials: Credentials, isKept: boolean): void {
    this.#credentials = credentials
    if (isKept) sessionStorage.setItem(this.#place, JSON.stringify(credentials))
  }

  async signIn(way: Way, first: string, second: string): Promise<Session> {
    if (way.way === "header") this.#use({ header: way.header, value: first }, true)
    else if (way.way === "bearer") this.#use({ header: "authorization", value: `Bearer ${first}` }, true)
    else {
      const bytes = new TextEncoder().encode(`${first}:${second}`)
      this.#use({ header: "authorization", value: `Basic ${btoa(String.fromCodePoint(...bytes))}` }, false)
    }
    return this.#begin()
  }

  async signInByAccount(name: string, password: string): Promise<Session> {
    this.#credentials = undefined
    const { json } = await this.#send("/accounts/login", { method: "POST", body: { name, password } })
    this.#take(json as unknown as Tokens)
    return this.#begin()
  }

  #take({ accessToken, refreshToken }: Tokens): void {
    this.#use({ header: "authorization", value: `Bearer ${accessToken}` }, true)
    this.#refreshToken = refreshToken
  }

  async #begin(): Promise<Session> {
    try {
      return (await this.#send("/-/admin", {})).json as unknown as Session
    } catch (error) {
      this.forget()
      throw error
    }
  }

  /** Notes that somebody is on his way to a provider, and where that begins. */
  toProvider(login: string): string {
    this.#use("session", true)
    return `${login}?returnTo=${encodeURIComponent(this.config.page)}`
  }

  /** Goes on with a session that was begun in another tab. */
  async signInBySession(): Promise<Session> {
    this.#use("session", true)
    return this.#begin()
  }

  async session(): Promise<Session> {
    return (await this.get("/-/admin")) as unknown as Session
  }

  forget(): void {
    this.#credentials = undefined
    this.#refreshToken = undefined
    sessionStorage.removeItem(this.#place)
  }

  /** Whether there are sessions, of which there may be others elsewhere: keys and passwords have none. */
  get hasSessions(): boolean {
    return this.#refreshToken !== undefined || (this.#credentials === "session" && this.config.logout !== undefined)
  }

  async signOut(): Promise<void> {
    // Gone from here in any case.
    await this.#leave(false).catch(() => {})
  }

  /** Ends the sessions of all browsers. What fails is told: they may go on. */
  async signOutEverywhere(): Promise<void> {
    await this.#leave(true)
  }

  async #leave(everywhere: boolean): Promise<void> {
    const refreshToken = this.#refreshToken
    const { logout, page } = this.config
    const leaving: Array<Promise<unknown>> = []
    if (this.#credentials === "session" && logout !== undefined) {
      // That of the provider goes on: it would end by a page of its own.
      const query = `local=true&everywhere=${everywhere}&returnTo=${encodeURIComponent(page)}`
      const ended = fetch(`${logout}?${query}`, { method: "POST", credentials: "same-origin", redirect: "manual" })
      leaving.push(
        ended.then(({ status, type }) => {
          if (type !== "opaqueredirect" && status >= 400) throw new Failure(status, undefined)
        })
      )
    }
    if (!everywhere) this.forget()
    if (refreshToken !== undefined) {
      const body = everywhere ? { refreshToken, everywhere } : { refreshToken }
      leaving.push(this.#send("/accounts/logout", { method: "POST", body }))
    }
    await Promise.all(leaving)
    this.forget()
  }

  async #fetch(path: string, { body, file, headers, method = "GET", signal }: Options): Promise<Response> {
    const given = new Headers(headers)
    const credentials = this.#credentials
    if (typeof credentials === "object") given.set(credentials.header, credentials.value)
    if (body !== undefined) given.set("content-type", "application/json")
    try {
      return await fetch(this.config.api + path, {
        method,
        headers: given,
        credentials: credentials === "session" ? "same-origin" : "omit",
        cache: "no-store",
        redirect: "error",
        ...(file !== undefined ? { body: file } : body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(signal === undefined ? {} : { signal })
      })
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error
      throw new Failure(0, undefined)
    }
  }

  async #send(path: string, options: Options): Promise<Answer> {
    const response = await this.#fetch(path, options)
    const json = await jsonOf(response)
    if (!response.ok) throw new Failure(response.status, json)
    return { status: response.status, headers: response.headers, json: json ?? null }
  }

  /** Sends a request; once more where a new token can be had. */
  async #withSession<A>(once: () => Promise<A>): Promise<A> {
    try {
      return await once()
    } catch (error) {
      if (!(error instanceof Failure) || error.status !== 401) throw error
      if (await this.#refresh()) return once()
      this.forget()
      this.onSignedOut()
      throw error
    }
  }

  #refresh(): Promise<boolean> {
    const refreshToken = this.#refreshToken
    if (refreshToken === undefined) return Promise.resolve(false)
    this.#refreshing ??= this.#send("/accounts/refresh", { method: "POST", body: { refreshToken } })
      .then(({ json }) => {
        this.#take(json as unknown as Tokens)
        return true
      })
      .catch(() => false)
      .finally(() => {
        this.#refreshing = undefined
      })
    return this.#refreshing
  }

  send(path: string, options: Options = {}): Promise<Answer> {
    return this.#withSession(() => this.#send(path, options))
  }

  async get(path: string, signal?: AbortSignal): Promise<Json> {
    return (await this.send(path, signal === undefined ? {} : { signal })).json
  }

  /** The bytes of a content, and what is said of it. */
  async download(path: string): Promise<Blob> {
    return this.#withSession(async () => {
      const response = await this.#fetch(path, {})
      if (!response.ok) throw new Failure(response.status, await jsonOf(response))
      return response.blob()
    })
  }

  path(resource: string, ...rest: ReadonlyArray<string>): string {
    return `/${[resource, ...rest].map(encodeURIComponent).join("/")}`
  }
}

const jsonOf = async (response: Response): Promise<Json | undefined> => {
  const text = await response.text()
  return /[/+]json\b/.test(response.headers.get("content-type") ?? "") ? parsed(text) : undefined
}

const parsed = (text: string): Json | undefined => {
  try {
    return JSON.parse(text) as Json
  } catch {
    return undefined
  }
}

export const objectOf = (json: Json): JsonObject => (isObject(json) ? json : {})
export const listOf = (json: Json | undefined): ReadonlyArray<Json> => (Array.isArray(json) ? json : [])
export const numberOf = (json: Json | undefined): number => (typeof json === "number" ? json : 0)
export const textOf = (json: Json | undefined): string => (typeof json === "string" ? json : "")
