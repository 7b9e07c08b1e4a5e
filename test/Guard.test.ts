import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as CurrentUser from "effect-s3db/CurrentUser"
import type * as Document from "effect-s3db/Document"
import * as Guard from "effect-s3db/Guard"
import * as Pipeline from "effect-s3db/Pipeline"

interface Post {
  readonly id: string
  readonly author: string
  readonly title: string
}

type Ops = Pipeline.Operations<Post, Partial<Post>, Partial<Post>>

const post: Post = { id: "1", author: "ana", title: "hello" }
const other: Post = { id: "2", author: "bo", title: "private words" }

/** A post in its envelope, as pipelines carry it. */
const shown = (value: Post): Document.Document<Post> => ({
  id: value.id,
  value,
  revision: "r1" as Document.Revision,
  schemaVersion: 1,
  writtenAt: DateTime.makeUnsafe(0),
  createdAt: DateTime.makeUnsafe(0),
  version: 1,
  storedIn: "metadata",
  metadataBytes: 2,
  bodyBytes: 2,
  truncated: [],
  content: undefined
})
const shownPost = shown(post)

const ana = CurrentUser.make("ana", { roles: ["editor"], scopes: ["posts:read"] })
const bo = CurrentUser.make("bo")

const as =
  (user: CurrentUser.User | undefined) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    user === undefined ? effect : Effect.provideService(effect, CurrentUser.CurrentUser, user)

class Other extends Context.Service<Other, { readonly isOpen: boolean }>()("effect-s3db/test/Guard.test/Other") {}

const quietly = Effect.provide(Logger.layer([]))

const decide = (
  rules: Guard.Rules<Post>,
  user: CurrentUser.User | undefined,
  operation: Pipeline.OperationName = "get"
) => quietly(Guard.make(rules).before(operation, user))

const decideWith = (rules: Guard.Rules<Post>, user: CurrentUser.User | undefined, record: Post = post) =>
  quietly(Guard.make(rules).withRecord("get", user, record))

const guarded = Effect.fnUntraced(function* (rules: Guard.Rules<Post>) {
  const pipeline = yield* Pipeline.make<Ops>("posts")
  yield* pipeline.add(Guard.interceptor(rules))
  return pipeline
})

const codeOf = <A, E, R>(effect: Effect.Effect<A, E | Pipeline.Rejected, R>) =>
  Effect.map(Effect.flip(effect), (error) => (error instanceof Pipeline.Rejected ? error.code : undefined))

describe("Guard", () => {
  describe("rules", () => {
    it.effect("T49: denied unless a rule allows", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* decide({}, ana), "Denied")
        assert.strictEqual(yield* decide({ "*": Guard.deny }, ana), "Denied")
        assert.strictEqual(yield* decide({ "*": Guard.allow, get: Guard.deny }, ana), "Denied")
        assert.strictEqual(yield* decide({ "*": Guard.deny, get: Guard.allow }, undefined), "Allowed")
        assert.strictEqual(yield* decide({ "*": Guard.roles(["editor"]) }, ana), "Allowed")
        assert.strictEqual(yield* decide({ list: Guard.allow }, ana), "Denied")
        const inherited: Guard.Rules<Post> = Object.create({ "*": Guard.allow, get: Guard.allow })
        assert.strictEqual(yield* decide(inherited, ana), "Denied")
        const unknown = { get: { _tag: "Perhaps" } } as unknown as Guard.Rules<Post>
        assert.strictEqual(yield* decide(unknown, ana), "Denied")
      })
    )

    it.effect("T49: roles and scopes, one of them is enough", () =>
      Effect.gen(function* () {
        const check = (rule: Guard.Rule<Post>, user: CurrentUser.User | undefined) => decide({ get: rule }, user)
        assert.strictEqual(yield* check(Guard.roles(["admin", "editor"]), ana), "Allowed")
        assert.strictEqual(yield* check(Guard.roles(["admin"]), ana), "Denied")
        assert.strictEqual(yield* check(Guard.roles(["admin"]), undefined), "Denied")
        assert.strictEqual(yield* check(Guard.roles([]), ana), "Denied")
        assert.strictEqual(yield* check(Guard.scopes(["posts:read"]), ana), "Allowed")
        assert.strictEqual(yield* check(Guard.scopes(["editor"]), ana), "Denied")
        assert.strictEqual(yield* check(Guard.authenticated, bo), "Allowed")
        assert.strictEqual(yield* check(Guard.authenticated, undefined), "Denied")
      })
    )

    it.effect("T49: only the answer true allows; failing, throwing and dying deny, also within not", () =>
      Effect.gen(function* () {
        const predicates: ReadonlyArray<() => unknown> = [
          () => undefined,
          () => 1,
          () => "true",
          () => Effect.succeed(1),
          () => Effect.fail("no"),
          () => Effect.die("bug"),
          () => {
            throw new Error("thrown")
          }
        ]
        for (const predicate of predicates) {
          const rule = Guard.record<Post>(predicate as () => boolean)
          assert.strictEqual(yield* decideWith({ get: rule }, ana), "Denied")
          assert.strictEqual(yield* decideWith({ get: Guard.not(rule) }, ana), "Denied")
          assert.strictEqual(yield* decideWith({ get: Guard.not(Guard.any(Guard.deny, rule)) }, ana), "Denied")
          assert.strictEqual(yield* decideWith({ get: Guard.any<Post>(rule, Guard.allow) }, ana), "Allowed")
        }
        const yes = Guard.record<Post>(() => Effect.succeed(true))
        assert.strictEqual(yield* decideWith({ get: yes }, undefined), "Allowed")
        assert.strictEqual(yield* decideWith({ get: Guard.not(yes) }, undefined), "Denied")
        const interrupted = yield* Effect.exit(decideWith({ get: Guard.record<Post>(() => Effect.interrupt) }, ana))
        assert.isTrue(Exit.isFailure(interrupted) && Cause.hasInterruptsOnly(interrupted.cause))
      })
    )

    it.effect("T49: a rule is an effect over the current user, who is the one that is asked about", () =>
      Effect.gen(function* () {
        const isEditor = Effect.gen(function* () {
          const user = yield* CurrentUser.required
          return user.roles.includes("editor")
        })
        const isAuthor = Guard.record<Post>((record) =>
          Effect.map(CurrentUser.required, (user) => user.id === record.author)
        )
        const check = (rule: Guard.Rule<Post>, user: CurrentUser.User | undefined) => decide({ get: rule }, user)
        assert.strictEqual(yield* check(isEditor, ana), "Allowed")
        assert.strictEqual(yield* check(isEditor, bo), "Denied")
        assert.strictEqual(yield* check(Guard.not(isEditor), bo), "Allowed")
        assert.strictEqual(yield* check(Guard.all(isEditor, isAuthor), ana), "NeedsRecord")
        assert.strictEqual(yield* check(Guard.all(isEditor, isAuthor), bo), "Denied")
        assert.strictEqual(yield* decideWith({ get: isAuthor }, ana), "Allowed")
        assert.strictEqual(yield* decideWith({ get: isAuthor }, bo), "Denied")
        // Who wants to know who it is denies the anonymous, also within `not`, whoever runs the fiber; and it is no news.
        const log: Array<string> = []
        const logger = Logger.make(({ message }) => void log.push(String(message)))
        const asked = Guard.make<Post>({ get: Guard.not(isEditor), query: isAuthor })
        const anonymous = Effect.all([asked.before("get", undefined), asked.withRecord("query", undefined, post)])
        const decisions = yield* as(bo)(anonymous).pipe(Effect.provide(Logger.layer([logger])))
        assert.deepStrictEqual([decisions, log], [["Denied", "Denied"], []])
        // With anything else that goes wrong, it is.
        const bug = Guard.make<Post>({
          get: Effect.ensuring(CurrentUser.required, Effect.die("bug")).pipe(Effect.as(true))
        })
        assert.strictEqual(yield* Effect.provide(bug.before("get", undefined), Logger.layer([logger])), "Denied")
        assert.deepStrictEqual(log, ["a rule for get failed, so it denies"])
        // Who does not ask, decides for them as well.
        assert.strictEqual(yield* check(Effect.succeed(true), undefined), "Allowed")
        const isNobody = Effect.map(CurrentUser.CurrentUser, (user) => user === undefined)
        assert.strictEqual(yield* as(bo)(check(isNobody, undefined)), "Allowed")
        assert.strictEqual(yield* check(isNobody, ana), "Denied")
        for (const rule of [Effect.fail("no"), Effect.die("bug"), Effect.succeed(1)] as ReadonlyArray<unknown>) {
          assert.strictEqual(yield* check(rule as Effect.Effect<boolean>, ana), "Denied")
          assert.strictEqual(yield* check(Guard.not(rule as Effect.Effect<boolean>), ana), "Denied")
        }
        // @ts-expect-error another service has to be closed over
        // @effect-diagnostics-next-line missingEffectContext:off
        const open: Guard.Rules<Post> = { get: Effect.map(Other, ({ isOpen }) => isOpen) }
        assert.strictEqual(yield* decide(open, ana), "Denied")
      })
    )

    it.effect("all, any and not decide without the record where they can", () =>
      Effect.gen(function* () {
        const mine = Guard.owner<Post>("author")
        const check = (rule: Guard.Rule<Post>) => decide({ get: rule }, ana)
        assert.strictEqual(yield* check(mine), "NeedsRecord")
        assert.strictEqual(yield* check(Guard.not(mine)), "NeedsRecord")
        assert.strictEqual(yield* check(Guard.all(mine, Guard.deny)), "Denied")
        assert.strictEqual(yield* check(Guard.all(Guard.allow, mine)), "NeedsRecord")
        assert.strictEqual(yield* check(Guard.any(mine, Guard.allow)), "Allowed")
        assert.strictEqual(yield* check(Guard.any(Guard.roles(["admin"]), mine)), "NeedsRecord")
        assert.strictEqual(yield* check(Guard.all(Guard.allow, Guard.authenticated)), "Allowed")
        assert.strictEqual(yield* check(Guard.any(Guard.deny, Guard.deny)), "Denied")
        assert.strictEqual(yield* check(Guard.not(Guard.deny)), "Allowed")
        for (const none of [Guard.all(), Guard.any(), Guard.not(Guard.all()), Guard.not(Guard.any())]) {
          assert.strictEqual(yield* check(none), "Denied")
        }
      })
    )

    it.effect("owner compares a field of the record itself", () =>
      Effect.gen(function* () {
        const rules: Guard.Rules<Post> = { get: Guard.owner<Post>("author") }
        assert.strictEqual(yield* decideWith(rules, ana), "Allowed")
        assert.strictEqual(yield* decideWith(rules, bo), "Denied")
        assert.strictEqual(yield* decideWith(rules, undefined), "Denied")
        assert.strictEqual(yield* decideWith(rules, CurrentUser.make(""), { ...post, author: "" }), "Denied")
        assert.strictEqual(yield* decideWith(rules, ana, Object.create(post)), "Denied")
        // @ts-expect-error no such field
        Guard.owner<Post>("owner")
      })
    )

    it.effect("T49: the notation of s3db.js, where false denies", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* decide(Guard.fromRoles(["admin"]), ana), "Denied")
        assert.strictEqual(yield* decide(Guard.fromRoles(["editor"]), ana), "Allowed")
        assert.strictEqual(yield* decide(Guard.fromRoles(["posts:read"]), ana), "Allowed")
        const rules = Guard.fromNotation<Post>({
          "*": false,
          count: true,
          insert: ["editor"],
          get: ({ user }, record) => record?.author === user?.id,
          list: ({ user, operation }, record) => user !== undefined && operation === "list" && record === undefined,
          delete: () => {
            throw new Error("no")
          }
        })
        assert.strictEqual(yield* decide(rules, ana, "update"), "Denied")
        assert.strictEqual(yield* decide(rules, ana, "count"), "Allowed")
        assert.strictEqual(yield* decide(rules, ana, "insert"), "Allowed")
        assert.strictEqual(yield* decide(rules, ana, "get"), "NeedsRecord")
        assert.strictEqual(yield* decideWith(rules, ana), "Allowed")
        assert.strictEqual(yield* decideWith(rules, bo), "Denied")
        assert.strictEqual(yield* decide(rules, ana, "list"), "Allowed")
        assert.strictEqual(yield* decide(rules, undefined, "list"), "Denied")
        assert.strictEqual(yield* quietly(Guard.make(rules).withRecord("delete", ana, post)), "Denied")
      })
    )

    it.effect("authorize tells who is not logged in, and no values", () =>
      Effect.gen(function* () {
        const guard = Guard.make<Post>({ get: Guard.owner<Post>("author") })
        const at = { resource: "posts", operation: "get", id: "2", record: other } as const
        const anonymous = yield* Effect.flip(Guard.authorize(guard, at))
        assert.isFalse(anonymous.isAuthenticated)
        const forbidden = yield* Effect.flip(as(ana)(Guard.authorize(guard, at)))
        assert.deepStrictEqual(
          [forbidden.isAuthenticated, forbidden.resource, forbidden.operation, forbidden.id],
          [true, "posts", "get", "2"]
        )
        const json = JSON.stringify(yield* Schema.encodeEffect(Schema.toCodecJson(Guard.Forbidden))(forbidden))
        assert.notInclude(json + forbidden.message, "private")
        yield* as(bo)(Guard.authorize(guard, at))
        yield* Guard.trusted(Guard.authorize(guard, { resource: "posts", operation: "delete" }))
        const unseen = yield* Effect.flip(as(bo)(Guard.authorize(guard, { resource: "posts", operation: "get" })))
        assert.isTrue(unseen.isAuthenticated)
      })
    )
  })

  describe("interceptor", () => {
    const mine = Guard.owner<Post>("author")
    const unreached = () => Effect.die("reached")

    it.effect("denies before anything is done", () =>
      Effect.gen(function* () {
        const pipeline = yield* guarded({ get: Guard.roles(["editor"]) })
        // Nothing may answer in its place.
        yield* pipeline.add({ operations: "*", priority: -1, around: () => Effect.succeed(shownPost) })
        const get = pipeline.run("get", { id: "1" }, unreached)
        assert.strictEqual(yield* as(ana)(get), shownPost)
        assert.strictEqual(yield* codeOf(as(bo)(get)), "Forbidden")
        assert.strictEqual(yield* codeOf(get), "Unauthenticated")
        assert.strictEqual(yield* codeOf(as(ana)(pipeline.run("deleteAll", {}, unreached))), "Forbidden")
        assert.strictEqual(yield* Guard.trusted(get), shownPost)
      })
    )

    it.effect("its rejection becomes Forbidden, those of others do not", () =>
      Effect.gen(function* () {
        const pipeline = yield* guarded({})
        const failure = yield* Effect.flip(pipeline.run("get", { id: "1" }, unreached))
        assert.isTrue(failure instanceof Pipeline.Rejected)
        if (!(failure instanceof Pipeline.Rejected)) return
        const forbidden = Option.getOrThrow(Guard.fromRejected(failure, "1"))
        assert.deepStrictEqual([forbidden.isAuthenticated, forbidden.id, forbidden.operation], [false, "1", "get"])
        const others = new Pipeline.Rejected({ resource: "posts", operation: "get", interceptor: "x", reason: "no" })
        assert.isTrue(Option.isNone(Guard.fromRejected(others)))
      })
    )

    it.effect("looks at what was read", () =>
      Effect.gen(function* () {
        const pipeline = yield* guarded({ "*": mine })
        const get = (found: Post) => as(ana)(pipeline.run("get", { id: found.id }, () => Effect.succeed(shown(found))))
        assert.strictEqual((yield* get(post)).value, post)
        assert.strictEqual(yield* codeOf(get(other)), "Forbidden")
      })
    )

    it.effect("listings carry it out as a filter; where they cannot, they are denied", () =>
      Effect.gen(function* () {
        const pipeline = yield* guarded({ "*": mine })
        for (const operation of ["list", "listIds", "query", "count"] as const) {
          const asked: Array<boolean> = []
          const execute = ({ filters = [] }: Pipeline.Filtered<Post>) =>
            Effect.gen(function* () {
              assert.strictEqual(filters.length, 2)
              for (const one of [post, other])
                asked.push(yield* filters[1]!(one, { id: "", createdAt: 0, writtenAt: 0 }))
              return yield* Effect.fail("seen" as const)
            })
          const filters = [() => Effect.succeed(true)]
          const run = pipeline.run(operation, { request: {}, filters }, execute)
          assert.strictEqual(yield* Effect.flip(as(ana)(run)), "seen")
          assert.deepStrictEqual(asked.splice(0), [true, false])
          assert.strictEqual(yield* Effect.flip(as(bo)(run)), "seen")
          assert.deepStrictEqual(asked, [false, true])
          const without = pipeline.run(operation, { request: {} }, unreached)
          assert.strictEqual(yield* codeOf(as(ana)(without)), "Forbidden")
        }
        const all = pipeline.run("deleteAll", {}, unreached)
        assert.strictEqual(yield* codeOf(as(ana)(all)), "Forbidden")
      })
    )

    it.effect("does not admit what it denies without the document", () =>
      Effect.gen(function* () {
        const pipeline = yield* guarded({ get: Guard.all(Guard.roles(["editor"]), mine), replace: Guard.authenticated })
        yield* as(ana)(pipeline.admit("get"))
        assert.strictEqual(yield* codeOf(as(bo)(pipeline.admit("get"))), "Forbidden")
        assert.strictEqual(yield* codeOf(pipeline.admit("get")), "Unauthenticated")
        yield* as(bo)(pipeline.admit("replace"))
        yield* Guard.trusted(pipeline.admit("get"))
      })
    )

    it.effect("writes carry it out as a check on the version they change", () =>
      Effect.gen(function* () {
        const pipeline = yield* guarded({ "*": mine })
        let seen = 0
        /** The document has got another owner by the time of the second attempt. */
        const execute = (input: Pipeline.Checked<Post>) =>
          Effect.gen(function* () {
            for (const version of [post, other]) {
              for (const check of input.checks ?? []) yield* check(version)
              seen += 1
            }
            return shownPost
          })
        const update = pipeline.run("update", { id: "1", changes: {}, checks: [() => Effect.void] }, execute)
        assert.strictEqual(yield* codeOf(as(ana)(update)), "Forbidden")
        assert.strictEqual(seen, 1)
        const insert = (value: Post) =>
          pipeline.run("insert", { input: value, checks: [] }, ({ checks }) =>
            Effect.as(
              Effect.forEach(checks ?? [], (check) => check(value)),
              shown(value)
            )
          )
        assert.strictEqual((yield* as(ana)(insert(post))).value, post)
        assert.strictEqual(yield* codeOf(as(ana)(insert(other))), "Forbidden")
      })
    )

    it.effect("where there are no checks it reads the document first, and only if it has to", () =>
      Effect.gen(function* () {
        const pipeline = yield* guarded({ "*": Guard.any(Guard.roles(["editor"]), mine) })
        let reads = 0
        const reading = (found: Post | undefined) =>
          Effect.sync(() => {
            reads += 1
            return Option.map(Option.fromUndefinedOr(found), shown)
          })
        const update = (found: Post | undefined) =>
          pipeline.run("update", { id: "1", changes: {}, current: reading(found) }, () => Effect.succeed(shownPost))
        yield* as(ana)(update(other))
        assert.strictEqual(reads, 0)
        yield* as(bo)(update(other))
        assert.strictEqual(reads, 1)
        assert.strictEqual(yield* codeOf(as(bo)(update(post))), "Forbidden")
        assert.strictEqual(yield* codeOf(as(bo)(update(undefined))), "Forbidden")
        const blind = pipeline.run("delete", { id: "1" }, () => Effect.void)
        assert.strictEqual(yield* codeOf(as(bo)(blind)), "Forbidden")
        const many = pipeline.run("deleteMany", { ids: ["1"] }, unreached)
        assert.strictEqual(yield* codeOf(as(bo)(many)), "Forbidden")
        const insert = (input: Partial<Post>) => pipeline.run("insert", { input }, () => Effect.succeed(shownPost))
        yield* as(bo)(insert(other))
        assert.strictEqual(yield* codeOf(as(bo)(insert({ title: "no author" }))), "Forbidden")
        const replace = (found: Post | undefined) =>
          pipeline.run("replace", { id: "2", input: other, current: reading(found) }, () =>
            Effect.succeed(shown(other))
          )
        yield* as(bo)(replace(undefined))
        assert.strictEqual(yield* codeOf(as(bo)(replace(post))), "Forbidden")
      })
    )

    it.effect("existence and content go by the document", () =>
      Effect.gen(function* () {
        const pipeline = yield* guarded({ "*": mine })
        const at = (found: Post | undefined) => ({
          id: "1",
          current: Effect.succeed(Option.map(Option.fromUndefinedOr(found), shown))
        })
        const exists = (found: Post | undefined) =>
          as(ana)(pipeline.run("exists", at(found), () => Effect.succeed(found !== undefined)))
        assert.isTrue(yield* exists(post))
        assert.isFalse(yield* exists(undefined))
        assert.strictEqual(yield* codeOf(exists(other)), "Forbidden")
        const content = (found: Post | undefined) =>
          as(ana)(pipeline.run("getContent", at(found), () => Effect.succeedNone))
        assert.isTrue(Option.isNone(yield* content(post)))
        assert.strictEqual(yield* codeOf(content(other)), "Forbidden")
        assert.strictEqual(yield* codeOf(content(undefined)), "Forbidden")
        assert.strictEqual(yield* codeOf(as(ana)(pipeline.run("deleteContent", { id: "1" }, unreached))), "Forbidden")
      })
    )
  })
})
