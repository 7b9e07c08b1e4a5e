import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { type Answer, type Client, isProblem, shop } from "./api.ts"

const ana = { id: "ana", name: "Ana", age: 30, country: "BR" }

const create = Effect.fnUntraced(function* (api: Client, ...documents: ReadonlyArray<object>) {
  for (const body of documents) {
    const answer = yield* api.send("POST", "/api/users", { body })
    assert.strictEqual(answer.status, 201, answer.text)
  }
})

describe("a document over HTTP", () => {
  it.effect("is created, read, changed, replaced and deleted", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const created = yield* api.send("POST", "/api/users", {
        body: { ...ana, internal: "for us", password: "correct horse battery", token: "s3cr3t" }
      })
      assert.strictEqual(created.status, 201, created.text)
      assert.strictEqual(created.headers.get("location"), "/api/users/ana")
      assert.deepStrictEqual(created.json, ana)
      const tag = created.headers.get("etag")!
      assert.match(tag, /^"[^"]+"$/)

      const read = yield* api.send("GET", "/api/users/ana")
      assert.deepStrictEqual(read.json, ana)
      assert.strictEqual(read.headers.get("etag"), tag)
      assert.strictEqual(read.headers.get("cache-control"), "private, no-cache")

      const patched = yield* api.send("PATCH", "/api/users/ana", { body: { age: 31, address: { city: "Recife" } } })
      assert.deepStrictEqual(patched.json, { ...ana, age: 31, address: { city: "Recife" } })
      assert.notStrictEqual(patched.headers.get("etag"), tag)

      const replaced = yield* api.send("PUT", "/api/users/ana", { body: { name: "Anna", age: 32, country: "PT" } })
      assert.strictEqual(replaced.status, 200)
      assert.deepStrictEqual(replaced.json, { id: "ana", name: "Anna", age: 32, country: "PT" })
      assert.deepStrictEqual((yield* api.send("GET", "/api/users/ana")).json, replaced.json)

      assert.strictEqual((yield* api.send("DELETE", "/api/users/ana")).status, 204)
      isProblem(yield* api.send("GET", "/api/users/ana"), 404, "NotFound")
      isProblem(yield* api.send("DELETE", "/api/users/ana"), 404, "NotFound")
    })
  )

  it.effect("HEAD says what GET does, without a body", () =>
    Effect.gen(function* () {
      const api = yield* shop
      yield* create(api, ana)
      const [head, get] = [yield* api.send("HEAD", "/api/users/ana"), yield* api.send("GET", "/api/users/ana")]
      assert.strictEqual(head.status, 200)
      assert.strictEqual(head.text, "")
      assert.strictEqual(head.headers.get("etag"), get.headers.get("etag"))
      const list = yield* api.send("HEAD", "/api/users?total=true")
      assert.strictEqual(list.headers.get("x-total-count"), "1")
      assert.strictEqual((yield* api.send("HEAD", "/api/users/nobody")).status, 404)
    })
  )

  it.effect("OPTIONS tells the methods, and others are refused", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const options = yield* api.send("OPTIONS", "/api/users/ana")
      assert.strictEqual(options.status, 204)
      assert.strictEqual(options.headers.get("allow"), "DELETE, GET, HEAD, OPTIONS, PATCH, PUT")
      const refused = yield* api.send("DELETE", "/api/users")
      isProblem(refused, 405, "MethodNotAllowed")
      assert.strictEqual(refused.headers.get("allow"), "GET, HEAD, OPTIONS, POST")
      isProblem(yield* api.send("GET", "/api/nothing"), 404, "NoSuchPath")
      isProblem(yield* api.send("DELETE", "/api/users/"), 405)
    })
  )

  it.effect("an answer may be minimal", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const headers = { prefer: "return=minimal" }
      const created = yield* api.send("POST", "/api/users", { body: ana, headers })
      assert.strictEqual(created.status, 201)
      assert.strictEqual(created.text, "")
      assert.strictEqual(created.headers.get("preference-applied"), "return=minimal")
      assert.strictEqual(created.headers.get("location"), "/api/users/ana")
      const patched = yield* api.send("PATCH", "/api/users/ana", { body: { age: 1 }, headers })
      assert.strictEqual(patched.status, 204)
      assert.notStrictEqual(patched.headers.get("etag"), created.headers.get("etag"))
    })
  )
})

describe("preconditions", () => {
  it.effect("a stale If-Match is 412 and changes nothing", () =>
    Effect.gen(function* () {
      const api = yield* shop
      yield* create(api, ana)
      const first = (yield* api.send("GET", "/api/users/ana")).headers.get("etag")!
      const second = (yield* api.send("PATCH", "/api/users/ana", {
        body: { age: 31 },
        headers: { "if-match": first }
      })).headers.get("etag")!
      for (const [method, body] of [
        ["PATCH", { age: 99 }],
        ["PUT", { ...ana, age: 99 }],
        ["DELETE", undefined]
      ] as const) {
        isProblem(
          yield* api.send(method, "/api/users/ana", { body, headers: { "if-match": first } }),
          412,
          "PreconditionFailed"
        )
        const weak = yield* api.send(method, "/api/users/ana", { body, headers: { "if-match": `W/${first}` } })
        isProblem(weak, 412)
        isProblem(yield* api.send(method, "/api/users/ana", { body, headers: { "if-match": "nonsense" } }), 400)
      }
      assert.strictEqual((yield* api.send("GET", "/api/users/ana")).json.age, 31)
      // What compression on the way has made weak names the same version.
      const several = { "if-match": `"other", W/${second}` }
      assert.strictEqual(
        (yield* api.send("PATCH", "/api/users/ana", { body: { age: 32 }, headers: several })).status,
        200
      )
      assert.strictEqual((yield* api.send("DELETE", "/api/users/ana", { headers: { "if-match": "*" } })).status, 204)
      isProblem(yield* api.send("PUT", "/api/users/ana", { body: ana, headers: { "if-match": "*" } }), 412)
      isProblem(yield* api.send("PUT", "/api/users/ana", { body: ana, headers: { "if-match": second } }), 412)
    })
  )

  it.effect("If-None-Match: 304 for reads, and create only for PUT", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const only = { "if-none-match": "*" }
      const created = yield* api.send("PUT", "/api/users/ana", { body: ana, headers: only })
      assert.strictEqual(created.status, 201)
      isProblem(yield* api.send("PUT", "/api/users/ana", { body: { ...ana, age: 9 }, headers: only }), 412)
      const tag = created.headers.get("etag")!
      const same = yield* api.send("GET", "/api/users/ana", { headers: { "if-none-match": `"x", W/${tag}` } })
      assert.strictEqual(same.status, 304)
      assert.strictEqual(same.text, "")
      assert.strictEqual(same.headers.get("etag"), tag)
      assert.strictEqual(
        (yield* api.send("GET", "/api/users/ana", { headers: { "if-none-match": '"x"' } })).status,
        200
      )
      assert.strictEqual((yield* api.send("PUT", "/api/users/bo", { body: { ...ana, id: "bo" } })).status, 201)
    })
  )

  it.effect("no change goes by what is for creations", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const as = "ana:acme"
      const note = { id: "1", text: "a", tenant: "acme" }
      const headers = { "if-none-match": "*" }
      const made = yield* api.send("PUT", "/api/notes/1", { body: note, as, headers })
      assert.strictEqual(made.status, 201)
      // If-Match is wanted here, and this is none.
      const patched = yield* api.send("PATCH", "/api/notes/1", { body: { text: "b" }, as, headers })
      isProblem(patched, 400, "InvalidRequest")
      isProblem(yield* api.send("DELETE", "/api/notes/1", { as, headers }), 400, "InvalidRequest")
      assert.strictEqual((yield* api.send("GET", "/api/notes/1", { as })).json.text, "a")
      // Both conditions never hold.
      const both = { ...headers, "if-match": made.headers.get("etag")! }
      for (const id of ["1", "2"]) {
        const put = yield* api.send("PUT", `/api/notes/${id}`, { body: { ...note, id }, as, headers: both })
        isProblem(put, 412, "PreconditionFailed")
      }
      isProblem(yield* api.send("GET", "/api/notes/2", { as }), 404)
    })
  )

  it.effect("a resource may demand If-Match", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const as = "ana:acme"
      const made = yield* api.send("POST", "/api/notes", { body: { id: "1", text: "a", tenant: "acme" }, as })
      assert.strictEqual(made.status, 201, made.text)
      isProblem(yield* api.send("PATCH", "/api/notes/1", { body: { text: "b" }, as }), 428, "PreconditionRequired")
      isProblem(yield* api.send("DELETE", "/api/notes/1", { as }), 428)
      const headers = { "if-match": made.headers.get("etag")! }
      assert.strictEqual((yield* api.send("PATCH", "/api/notes/1", { body: { text: "b" }, as, headers })).status, 200)
    })
  )
})

describe("lists", () => {
  const people = Array.from({ length: 25 }, (_, index) => ({
    id: `p${String(index).padStart(2, "0")}`,
    name: `Person ${index}`,
    age: 20 + index,
    country: index % 2 === 0 ? "BR" : "PT"
  }))

  it.effect("go by cursor to the end", () =>
    Effect.gen(function* () {
      const api = yield* shop
      yield* create(api, ...people)
      const found: Array<unknown> = []
      let path: string | undefined = "/api/users?limit=10&total=true"
      while (path !== undefined) {
        const page: Answer = yield* api.send("GET", path)
        assert.strictEqual(page.status, 200, page.text)
        assert.strictEqual(page.json.total, 25)
        found.push(...page.json.items)
        path = /^<(.+)>; rel="next"$/.exec(page.headers.get("link") ?? "")?.[1]
        assert.strictEqual(path === undefined, page.json.cursor === undefined)
      }
      assert.deepStrictEqual(found, people)
    })
  )

  it.effect("filters are JSON or parameters, and go by partitions", () =>
    Effect.gen(function* () {
      const api = yield* shop
      yield* create(api, ...people)
      const ids = (answer: Answer) => {
        assert.strictEqual(answer.status, 200, answer.text)
        return answer.json.items.map((item: { id: string }) => item.id)
      }
      const wanted = people.filter(({ age, country }) => country === "PT" && age >= 40).map(({ id }) => id)
      assert.deepStrictEqual(ids(yield* api.send("GET", "/api/users?country=PT&age[gte]=40")), wanted)
      const filter = encodeURIComponent(JSON.stringify({ country: "PT", age: { gte: 40 } }))
      assert.deepStrictEqual(ids(yield* api.send("GET", `/api/users?filter=${filter}`)), wanted)
      assert.deepStrictEqual(
        ids(
          yield* api.send(
            "GET",
            `/api/users?partition=byCountry&values=${encodeURIComponent('{"country":"PT"}')}&age[gte]=40`
          )
        ),
        wanted
      )
      assert.deepStrictEqual(ids(yield* api.send("GET", "/api/users?id[in]=p01,p03")), ["p01", "p03"])
      // An id is a text, whatever it looks like.
      yield* api.send("POST", "/api/users", { body: { id: "2", name: "Two", age: 2, country: "NZ" } })
      for (const query of ["id=2", "id[eq]=2", "id[in]=2,true", "id[startsWith]=2"]) {
        assert.deepStrictEqual(ids(yield* api.send("GET", `/api/users?${query}`)), ["2"], query)
      }
      yield* api.send("DELETE", "/api/users/2")
      const ordered = yield* api.send("GET", "/api/users?country=BR&order=-age&limit=3")
      assert.deepStrictEqual(ids(ordered), ["p24", "p22", "p20"])
      assert.strictEqual((yield* api.send("GET", "/api/users/-/count")).json.count, 25)
      assert.strictEqual((yield* api.send("GET", "/api/users/-/count?country=BR")).json.count, 13)
      const some = yield* api.send("GET", "/api/users/-/select?fields=name,country&country=BR&limit=1")
      assert.deepStrictEqual(some.json.items, [{ name: "Person 0", country: "BR" }])
    })
  )

  it.effect("one that would read everything is refused, and so are fields that are not shown", () =>
    Effect.gen(function* () {
      const api = yield* shop
      yield* create(api, { ...ana, internal: "x" })
      isProblem(yield* api.send("GET", "/api/users?age[gte]=18"), 403, "NotAllowed")
      isProblem(yield* api.send("GET", "/api/users/-/count?age=18"), 403)
      for (const path of [
        "internal=x",
        "internal[exists]=true",
        "order=internal",
        "address.street=x",
        "filter=" + encodeURIComponent('{"$or":[{"$not":{"internal":"x"}}]}'),
        "filter=" + encodeURIComponent('{"address":{"city":"x"}}'),
        "partition=byInternal&values=" + encodeURIComponent('{"internal":"x"}'),
        "token=x",
        "password[exists]=true",
        "order=token"
      ]) {
        isProblem(yield* api.send("GET", `/api/users?country=BR&${path}`), 422, "InvalidInput")
      }
      for (const fields of ["internal", "address", "token", "password", "name,address.street"]) {
        isProblem(yield* api.send("GET", `/api/users/-/select?fields=${fields}&country=BR`), 422, "InvalidInput")
      }
    })
  )

  it.effect("what is wrong is told by its path, with nothing of it", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const wrong = yield* api.send("GET", "/api/users?countri=BR")
      isProblem(wrong, 422, "InvalidInput")
      assert.strictEqual(wrong.json.issues[0].path[0], "countri")
      for (const query of [
        "limit=0",
        "limit=1001",
        "limit=abc",
        "limit=1&limit=2",
        "total=maybe",
        "filter={",
        "values=[]"
      ]) {
        isProblem(yield* api.send("GET", `/api/users?${query}`), 400, "InvalidRequest")
      }
      isProblem(yield* api.send("GET", "/api/users?[gte]=1"), 422)
      isProblem(yield* api.send("GET", "/api/users?age[$where]=1"), 422)
    })
  )
})

describe("bulk", () => {
  const good = ana
  const bad = { id: "bad", name: "", age: 1.5, country: "BR" }

  it.effect("partial: what can be is created, and the rest is told", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const answer = yield* api.send("POST", "/api/users/-/bulk", { body: { items: [good, bad, good] } })
      assert.strictEqual(answer.status, 207, answer.text)
      assert.deepStrictEqual(answer.json.summary, { total: 3, created: 1, failed: 2 })
      const statuses = answer.json.items.map((item: { status: number }) => item.status)
      assert.sameMembers(statuses, [201, 422, 409])
      assert.strictEqual(statuses[1], 422)
      assert.strictEqual((yield* api.send("GET", "/api/users/-/count")).json.count, 1)
    })
  )

  it.effect("atomic: all or nothing", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const refused = yield* api.send("POST", "/api/users/-/bulk?mode=atomic", { body: { items: [good, bad] } })
      isProblem(refused, 422, "InvalidInput")
      assert.strictEqual(refused.json.index, 1)
      assert.strictEqual((yield* api.send("GET", "/api/users/-/count")).json.count, 0)
      const items = [good, { ...good, id: "bo" }]
      const done = yield* api.send("POST", "/api/users/-/bulk?mode=atomic", { body: { items } })
      assert.strictEqual(done.status, 200, done.text)
      assert.deepStrictEqual(done.json.summary, { total: 2, created: 2, failed: 0 })
      const many = Array.from({ length: 101 }, () => good)
      isProblem(yield* api.send("POST", "/api/users/-/bulk", { body: { items: many } }), 422)
    })
  )

  const three = Effect.gen(function* () {
    const api = yield* shop
    const items = ["a", "b", "c"].map((id) => ({ ...good, id }))
    const { json } = yield* api.send("POST", "/api/users/-/bulk", { body: { items } })
    const etags: ReadonlyArray<string> = json.items.map((item: { etag: string }) => item.etag)
    const statuses = (
      answer: typeof api.send extends (...args: never) => Effect.Effect<infer A, unknown> ? A : never
    ) => answer.json.items.map((item: { status: number }) => item.status)
    const ages = Effect.map(api.send("GET", "/api/users"), (answer) =>
      answer.json.items.map(({ age }: { age: number }) => age)
    )
    return { ...api, etags, statuses, ages }
  })

  it.effect("changes of many: each by itself, on its own condition", () =>
    Effect.gen(function* () {
      const { ages, etags, send, statuses } = yield* three
      const answer = yield* send("PATCH", "/api/users/-/bulk", {
        body: {
          items: [
            { id: "a", changes: { age: 41 }, ifMatch: etags[0] },
            { id: "b", changes: { age: 42 }, ifMatch: etags[0] },
            { id: "c", changes: { age: "old" } },
            { id: "nobody", changes: { age: 1 } }
          ]
        }
      })
      assert.strictEqual(answer.status, 207, answer.text)
      assert.deepStrictEqual(statuses(answer), [200, 412, 422, 404])
      assert.deepStrictEqual(answer.json.summary, { total: 4, done: 1, failed: 3 })
      assert.strictEqual(answer.json.items[0].document.age, 41)
      assert.notStrictEqual(answer.json.items[0].etag, etags[0])
      assert.deepStrictEqual(answer.json.items[2].problem.issues[0].path, ["age"])
      assert.deepStrictEqual(yield* ages, [41, good.age, good.age])
    })
  )

  it.effect("changes of many: all or none", () =>
    Effect.gen(function* () {
      const { ages, send, statuses } = yield* three
      const items = (...pairs: ReadonlyArray<readonly [string, number]>) => ({
        items: pairs.map(([id, age]) => ({ id, changes: { age } }))
      })
      const refused = yield* send("PATCH", "/api/users/-/bulk?mode=atomic", {
        body: items(["a", 50], ["b", 51], ["nobody", 52])
      })
      isProblem(refused, 404)
      assert.strictEqual(refused.json.index, 2)
      assert.deepStrictEqual(yield* ages, [good.age, good.age, good.age])
      const done = yield* send("PATCH", "/api/users/-/bulk?mode=atomic", { body: items(["a", 50], ["b", 51]) })
      assert.deepStrictEqual(statuses(done), [200, 200])
      assert.deepStrictEqual(yield* ages, [50, 51, good.age])
    })
  )

  it.effect("replaces and creates many", () =>
    Effect.gen(function* () {
      const { ages, etags, send, statuses } = yield* three
      const document = (age: number) => ({ name: good.name, age, country: good.country })
      const answer = yield* send("PUT", "/api/users/-/bulk", {
        body: {
          items: [
            { id: "a", document: document(61), ifMatch: etags[0] },
            { id: "b", document: { ...document(62), id: "c" } },
            { id: "new", document: document(63) },
            { id: "gone", document: document(64), ifMatch: etags[0] }
          ]
        }
      })
      assert.deepStrictEqual(statuses(answer).slice(0, 2), [200, 422])
      assert.include([200, 201], statuses(answer)[2])
      assert.strictEqual(statuses(answer)[3], 412)
      assert.deepStrictEqual(yield* ages, [61, good.age, good.age, 63])
    })
  )

  for (const mode of ["partial", "atomic"]) {
    it.effect(`deletes many, ${mode}`, () =>
      Effect.gen(function* () {
        const { etags, send, statuses } = yield* three
        const path = `/api/users/-/bulk-delete?mode=${mode}`
        const stale = [{ id: "a" }, { id: "b", ifMatch: etags[0] }]
        const answer = yield* send("POST", path, { body: { items: stale } })
        if (mode === "partial") assert.deepStrictEqual(statuses(answer), [204, 412])
        else isProblem(answer, 412)
        const left = (yield* send("GET", "/api/users/-/count")).json.count
        assert.strictEqual(left, mode === "partial" ? 2 : 3)
        const rest = [{ id: "b", ifMatch: etags[1] }, { id: "c" }]
        assert.deepStrictEqual(statuses(yield* send("POST", path, { body: { items: rest } })), [204, 204])
        assert.strictEqual((yield* send("GET", "/api/users/-/count")).json.count, left - 2)
      })
    )
  }

  it.effect("what is no item is refused, and changes nothing", () =>
    Effect.gen(function* () {
      const { ages, send, statuses } = yield* three
      const twice = { items: [1, 2].map((age) => ({ id: "a", changes: { age } })) }
      isProblem(yield* send("PATCH", "/api/users/-/bulk", { body: twice }), 422)
      const odd = [
        { changes: { age: 1 } },
        { id: 1, changes: { age: 1 } },
        { id: "a" },
        { id: "a2", changes: [1] },
        { id: "a3", changes: { age: 1 }, ifMatch: 1 },
        { id: "a4", changes: { age: 1 }, more: true },
        { id: "..", changes: { age: 1 } },
        "a"
      ]
      const answer = yield* send("PATCH", "/api/users/-/bulk", { body: { items: odd } })
      assert.deepStrictEqual(
        statuses(answer),
        odd.map(() => 422)
      )
      assert.deepStrictEqual(yield* ages, [good.age, good.age, good.age])
      isProblem(yield* send("PATCH", "/api/users/-/bulk", { body: { items: "x" } }), 422)
    })
  )

  it.effect("some fields come with the revision, by which documents are deleted", () =>
    Effect.gen(function* () {
      const api = yield* shop
      for (const id of ["a", "b"]) {
        yield* api.send("POST", "/api/users", { body: { id, name: id, age: 1, country: "BR", internal: "hidden" } })
      }
      const ask = (fields: string) => api.send("GET", `/api/users/-/select?country=BR&fields=${fields}`)
      const { json } = yield* ask("name,$revision,address.city")
      const get = yield* api.send("GET", "/api/users/a")
      assert.deepStrictEqual(Object.keys(json.items[0]), ["name", "$revision"])
      assert.strictEqual(`"${json.items[0].$revision}"`, get.headers.get("etag"))
      for (const fields of ["$revision,internal", "$revision,nothing", "$revision,__proto__", "$revision,token"]) {
        const answer = yield* ask(fields)
        assert.notInclude(answer.text, "hidden")
        if (!fields.endsWith("token")) isProblem(answer, 422, "InvalidInput")
      }
      const items = json.items.map(({ $revision }: { $revision: string }, at: number) => ({
        id: ["a", "b"][at],
        ifMatch: `"${$revision}"`
      }))
      yield* api.send("PATCH", "/api/users/b", { body: { age: 2 } })
      const deleted = yield* api.send("POST", "/api/users/-/bulk-delete", { body: { items } })
      assert.deepStrictEqual(
        deleted.json.items.map(({ status }: { status: number }) => status),
        [204, 412]
      )
    })
  )
})
