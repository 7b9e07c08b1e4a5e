/** Deletions and changes that others depend on, in every order of the requests of two processes, also where one of them crashes. */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Id from "effect-s3db/crypto/Id"
import { Database } from "effect-s3db/Database"
import * as Relation from "effect-s3db/plugins/Relation"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import * as Pauses from "effect-s3db/testing/Pauses"
import { drive, openOn } from "../fixture.ts"
import type { Outcome } from "./serial.ts"

type Store = ObjectStore["Service"]

class Parents extends Resource.Service<Parents>()("effect-s3db/test/simulation/relationOrders/Parents", {
  schema: Schema.Struct({ id: Schema.String }),
  primaryKey: "id",
  name: "parents"
}) {}

class Children extends Resource.Service<Children>()("effect-s3db/test/simulation/relationOrders/Children", {
  schema: Schema.Struct({ id: Schema.String, parent: Schema.String }),
  primaryKey: "id",
  name: "children",
  partitions: { byParent: ["parent"] }
}) {}

class Toys extends Resource.Service<Toys>()("effect-s3db/test/simulation/relationOrders/Toys", {
  schema: Schema.Struct({ id: Schema.String, child: Schema.String }),
  primaryKey: "id",
  name: "toys",
  partitions: { byChild: ["child"] }
}) {}

class Family extends Relation.Service<Family>()("effect-s3db/test/simulation/relationOrders/Family", {
  resources: { parents: Parents, children: Children, toys: Toys },
  relations: {
    parents: { children: { hasMany: "children", key: "parent", onDelete: "cascade" } },
    children: {
      elder: { belongsTo: "parents", key: "parent", mustExist: true },
      toys: { hasMany: "toys", key: "child", onDelete: "cascade" }
    },
    toys: { owner: { belongsTo: "children", key: "child" } }
  }
}) {}

const familyOn = Effect.fnUntraced(function* (store: Store) {
  const { database } = yield* openOn(store)
  const layer = Family.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(Parents.layer, Children.layer, Toys.layer)),
    Layer.provide(Layer.succeed(Database, database))
  )
  const context = yield* Layer.build(layer)
  return yield* Effect.provideContext(
    Effect.gen(function* () {
      return { family: yield* Family, parents: yield* Parents, children: yield* Children, toys: yield* Toys }
    }),
    context
  )
})

type Opened = Effect.Success<ReturnType<typeof familyOn>>

/** What is there, and who has said that his work is done. */
interface Seen {
  readonly parents: ReadonlySet<string>
  /** By id, to whom they belong. */
  readonly children: ReadonlyMap<string, string>
  readonly toys: ReadonlyMap<string, string>
  readonly done: ReadonlySet<string>
}

export interface Scenario {
  readonly programs: Readonly<Record<string, (opened: Opened) => Effect.Effect<unknown, unknown>>>
  /** What else is wrong of what is there. */
  readonly problemsOf?: (seen: Seen) => ReadonlyArray<string>
  /** Which parent each of them deletes. */
  readonly deletes: Readonly<Record<string, string>>
  /** Whoever comes to belong to a parent while this is deleted may be left over: `orphans` tells of it. */
  readonly mayStay?: ReadonlyArray<string>
}

const isMoved = (seen: Seen, child: string, to: string) => seen.children.get(child) === to

export const scenarios: Readonly<Record<string, Scenario>> = {
  "relation: a parent is deleted, and a child inserted": {
    programs: {
      a: ({ parents }) => parents.delete("p"),
      b: ({ children }) => children.insert({ id: "new", parent: "p" })
    },
    deletes: { a: "p" },
    mayStay: ["new"],
    problemsOf: (seen) =>
      seen.done.has("b") && seen.parents.has("p") && !seen.children.has("new")
        ? ["a child was inserted, and is gone, though its parent is there"]
        : []
  },
  "relation: a parent is deleted, and a child moves to another": {
    programs: {
      a: ({ parents }) => parents.delete("p"),
      b: ({ children }) => children.patch("c", { parent: "q" })
    },
    deletes: { a: "p" },
    problemsOf: (seen) =>
      seen.done.has("b") && !isMoved(seen, "c", "q") ? ["a child has moved to another parent, and is gone"] : []
  },
  "relation: a parent is deleted by two": {
    programs: {
      a: ({ parents }) => parents.delete("p"),
      b: ({ parents }) => parents.delete("p")
    },
    deletes: { a: "p", b: "p" }
  },
  "relation: a parent and its child are deleted": {
    programs: {
      a: ({ parents }) => parents.delete("p"),
      b: ({ children }) => children.delete("c")
    },
    deletes: { a: "p" },
    problemsOf: (seen) => (seen.done.has("b") && seen.children.has("c") ? ["a child was deleted, and is there"] : [])
  },
  "relation: two parents are deleted, and a child moves from one to the other": {
    programs: {
      a: ({ parents }) => parents.delete("p"),
      b: ({ parents }) => parents.delete("q"),
      c: ({ children }) => children.patch("c", { parent: "q" })
    },
    deletes: { a: "p", b: "q" },
    mayStay: ["c"]
  }
}

export type Break = (store: Store) => Store

const isNote = (key: string) => key.includes("plugin=relation") && key.includes("notes")
const isDocument = (key: string) => key.includes("/data/id=")

export const breaks: Readonly<Record<string, Break>> = {
  /** What is to be done with others is not noted. */
  "forgotten-notes": (store) => ({
    ...store,
    put: (request) =>
      Effect.tap(store.put(request), () => (isNote(request.key) ? store.delete(request.key) : Effect.void))
  }),
  /** What belongs to another by now is removed all the same. */
  "blind-cascades": (store) => ({
    ...store,
    delete: (key, options) => (isDocument(key) ? store.delete(key) : store.delete(key, options))
  })
}

const seeded = <A, E, R>(seed: number, effect: Effect.Effect<A, E, R>) =>
  effect.pipe(Effect.provideService(Id.Generator, Id.seeded(seed)), Random.withSeed(`seed ${seed}`))

const prepare = Effect.fnUntraced(function* ({ children, parents, toys }: Opened) {
  for (const id of ["p", "q"]) yield* parents.insert({ id })
  for (const [id, parent] of [
    ["c", "p"],
    ["d", "q"]
  ] as const) {
    yield* children.insert({ id, parent })
    yield* toys.insert({ id: `toy of ${id}`, child: id })
  }
})

export interface Options {
  readonly preemptions?: number | undefined
  readonly crashes?: number | undefined
  readonly limit?: number | undefined
  readonly break?: Break | undefined
}

class Enough extends Data.TaggedError("Enough") {}

/** Runs a scenario in every order, until an outcome is wrong. */
export const explore = Effect.fnUntraced(function* (
  { deletes, mayStay = [], problemsOf = () => [], programs: parts }: Scenario,
  options: Options
): Effect.fn.Return<Outcome, unknown, Scope.Scope> {
  const { control, store: inner } = yield* MemoryStore.make()
  const schedule = Interleavings.make(options.break === undefined ? inner : options.break(inner))
  yield* seeded(1, Effect.flatMap(familyOn(inner), prepare))
  const start = yield* control.snapshot
  const violations: Array<string> = []
  const outcomes = new Set<string>()
  let schedules = 0

  /** What is there when somebody has gone on with what was left. */
  const look = Effect.fnUntraced(function* (done: ReadonlySet<string>) {
    const { children, family, parents, toys } = yield* familyOn(inner)
    yield* family.parents.resume
    const seen: Seen = {
      done,
      parents: new Set((yield* Stream.runCollect(parents.scan())).map(({ id }) => id)),
      children: new Map((yield* Stream.runCollect(children.scan())).map(({ id, parent }) => [id, parent])),
      toys: new Map((yield* Stream.runCollect(toys.scan())).map(({ child, id }) => [id, child]))
    }
    const orphans = new Set((yield* Stream.runCollect(family.children.orphans("elder"))).map(({ id }) => id))
    const problems = [...problemsOf(seen)]
    for (const [id, parent] of seen.children) {
      if (seen.parents.has(parent)) continue
      if (!mayStay.includes(id)) problems.push(`${id} is there, and its parent ${parent} is not`)
      else if (!orphans.has(id)) problems.push(`${id} has no parent, and nobody is told`)
    }
    for (const [id, child] of seen.toys) {
      if (!seen.children.has(child)) problems.push(`${id} is there, and ${child} is not`)
    }
    for (const id of ["c", "d"]) {
      if (seen.children.has(id) && !seen.toys.has(`toy of ${id}`)) problems.push(`${id} has lost its toy`)
    }
    for (const [name, id] of Object.entries(deletes)) {
      if (done.has(name) && seen.parents.has(id)) problems.push(`${id} was deleted, and is there`)
    }
    outcomes.add(JSON.stringify([[...seen.parents], [...seen.children], [...seen.toys]]))
    return problems
  })

  const programs: Record<string, Effect.Effect<unknown, unknown>> = {}
  for (const [i, [name, work]] of Object.entries(parts).entries()) {
    const process = Effect.scoped(Effect.flatMap(familyOn(schedule.client(name)), work))
    // One that has crashed says so.
    programs[name] = Effect.provideService(seeded(10 + i, process), References.MinimumLogLevel, "None")
  }
  const exploring = schedule.explore({
    before: control.restore(start),
    programs,
    preemptions: options.preemptions ?? 2,
    crashes: options.crashes,
    limit: options.limit,
    check: Effect.fnUntraced(function* ({ crashed, exits, trace }: Interleavings.Run<unknown, unknown>) {
      schedules += 1
      const problems: Array<string> = []
      const done = new Set<string>()
      for (const [name, exit] of Object.entries(exits)) {
        if (Exit.isSuccess(exit) && !crashed.includes(name)) done.add(name)
        if (Exit.isFailure(exit) && Cause.hasDies(exit.cause) && !crashed.includes(name)) {
          problems.push(`${name}: ${Cause.pretty(exit.cause)}`)
        }
      }
      problems.push(...(yield* drive(yield* Effect.forkChild(Pauses.byClock(Effect.scoped(look(done)))))))
      if (problems.length === 0) return
      violations.push([...problems, ...trace].join("\n  "))
      return yield* new Enough()
    })
  })
  const report = yield* Effect.catchIf(
    exploring,
    (error) => error instanceof Enough,
    () => Effect.succeed({ schedules, requests: 0, complete: false })
  )
  return { ...report, outcomes: outcomes.size, violations }
})
