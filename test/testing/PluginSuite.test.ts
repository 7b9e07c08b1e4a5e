/** The suite passes a plugin that is right, and knows each that is wrong. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Id from "effect-s3db/crypto/Id"
import { Database } from "effect-s3db/Database"
import * as PluginStore from "effect-s3db/kernel/PluginStore"
import * as Plugin from "effect-s3db/Plugin"
import { listAll } from "effect-s3db/storage/ObjectStore"
import * as PluginSuite from "effect-s3db/testing/PluginSuite"

const plugin = Plugin.define("notes", { version: 1 })

interface Notes {
  readonly add: (id: string) => Effect.Effect<unknown, { readonly _tag: string }>
  readonly all: Effect.Effect<ReadonlyArray<string>, { readonly _tag: string }>
}

const right = (self: Plugin.Instance): Notes => {
  const store = self.store(Schema.String)
  return {
    add: (id) => store.set(["note", id], id),
    all: Effect.map(Stream.runCollect(store.entries("note")), (entries) => entries.map(({ value }) => value))
  }
}

const opening = (make: (self: Plugin.Instance, database: Database["Service"]) => Notes) =>
  Effect.fnUntraced(function* (options: Plugin.Options) {
    const self = yield* Plugin.open(plugin, options)
    const notes = make(self, yield* Database)
    yield* self.running()
    return notes
  })

const subject = (open: PluginSuite.Subject<Notes>["open"]): PluginSuite.Subject<Notes> => ({
  plugin,
  open,
  add: ({ add }, ids) => Effect.forEach(ids, add, { concurrency: 16 }),
  ids: ({ all }) => all,
  records: 1100
})

PluginSuite.suite("a plugin that is right", subject(opening(right)))

it("a plugin may fail otherwise where it is used than where it is opened", () => {
  const tests = PluginSuite.tests({
    plugin,
    open: opening(right),
    add: ({ add }, ids) => Effect.andThen(Effect.forEach(ids, add), Effect.fail("not now" as const)),
    ids: ({ all }) => all
  })
  assert.isAbove(tests.length, 5)
})

/** Broken plugins, and a test that each of them must not pass. */
const broken: Readonly<Record<string, readonly [open: PluginSuite.Subject<Notes>["open"], title: string]>> = {
  "does not say that it is running": [
    (options) => Effect.map(Plugin.open(plugin, options), right),
    "is running and up"
  ],
  "has one place for all namespaces": [
    opening((self, { store }) => {
      const shared = PluginStore.make(store, { plugin: "notes", schema: Schema.String })
      return right({ ...self, store: () => shared as never })
    }),
    "has nothing in common"
  ],
  "lists by a prefix that is that of others as well": [
    opening((self, { store }) => ({
      ...right(self),
      all: listAll(store, { prefix: `plugin=${self.slug}` }).pipe(
        Stream.runCollect,
        Effect.map((entries) => entries.map(({ key }) => decodeURIComponent(key.slice(key.lastIndexOf("/") + 1))))
      )
    })),
    "has nothing in common"
  ],
  "writes into the place of somebody else": [
    opening((self, { store }) => {
      const elsewhere = PluginStore.make(store, { plugin: "other", schema: Schema.String })
      return { ...right(self), add: (id) => Effect.andThen(elsewhere.set(id, id), right(self).add(id)) }
    }),
    "has nothing in common"
  ],
  "does not escape ids": [
    opening((self) => ({ ...right(self), add: (id) => self.store(Schema.String).set(["note", ...id.split("/")], id) })),
    "takes ids as they are"
  ],
  "takes what it cannot have": [
    opening((self) => ({ ...right(self), add: (id) => Effect.ignore(right(self).add(id)) })),
    "takes ids as they are"
  ],
  "changes what it has read without a condition": [
    opening((self) => {
      const store = self.store(Schema.Array(Schema.String))
      const all = Effect.map(
        store.get("all"),
        Option.getOrElse((): ReadonlyArray<string> => [])
      )
      return { all, add: (id) => Effect.flatMap(all, (ids) => store.set("all", [...new Set([...ids, id])])) }
    }),
    "is one in two processes"
  ],
  "makes another of what it does again": [
    opening((self) => {
      const store = self.store(Schema.String)
      return {
        all: right(self).all,
        add: (id) => Effect.flatMap(Id.random, (one) => store.set(["note", one], id))
      }
    }),
    "loses nothing when it crashes after"
  ],
  "says that it is done before it is": [
    opening((self) => {
      const kept: Array<string> = []
      const flush = Effect.forEach([...kept], right(self).add)
      return {
        all: Effect.map(right(self).all, (stored) => [...new Set([...stored, ...kept])]),
        add: (id) =>
          Effect.andThen(
            flush,
            Effect.sync(() => kept.push(id))
          )
      }
    }),
    "loses nothing when it crashes before"
  ],
  "holds an error for an answer": [
    opening((self) => ({ ...right(self), add: (id) => Effect.ignore(right(self).add(id)) })),
    "fails with a typed error"
  ],
  "holds a page for all": [
    opening((self, { store }) => ({
      ...right(self),
      all: Effect.map(store.list({ prefix: self.prefix() }), ({ entries }) =>
        entries.map(({ key }) => decodeURIComponent(key.slice(key.lastIndexOf("/") + 1)))
      )
    })),
    "has all of 1100"
  ],
  "remembers what was purged": [
    opening((self, { store }) => {
      const elsewhere = PluginStore.make(store, { plugin: "other", resource: self.slug, schema: Schema.String })
      return right({ ...self, store: () => elsewhere as never })
    }),
    "is found again"
  ]
}

describe("a plugin that", () => {
  for (const [what, [open, title]] of Object.entries(broken)) {
    it.effect(`${what} is known`, () =>
      Effect.gen(function* () {
        const test = PluginSuite.tests(subject(open)).find((one) => one.title.startsWith(title))!
        const exit = yield* Effect.exit(Effect.scoped(test.run))
        assert.isTrue(Exit.isFailure(exit), `${title} is passed`)
      })
    )
  }
})
