import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import type { StoreError } from "effect-s3db/storage/StoreError"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as Linearizability from "effect-s3db/testing/Linearizability"
import * as Pauses from "effect-s3db/testing/Pauses"
import { type Random, random } from "../encoding/random.ts"

type Op = Linearizability.DocumentOp
type Result = Linearizability.DocumentResult
type Event = Linearizability.Event<Op, Result>
type History = ReadonlyArray<Event>

const invoke = (id: number, op: Op, process = `p${id}`): Event => ({ _tag: "Invoke", id, process, op })
const answer = (id: number, result: Result): Event => ({ _tag: "Return", id, result })
const lost = (id: number): Event => ({ _tag: "Unknown", id })
const failed = (id: number): Event => ({ _tag: "Fail", id })

const insert = (value: string): Op => ({ _tag: "Insert", value })
const update = (expected: string, value: string): Op => ({ _tag: "Update", expected, value })
const replace = (value: string): Op => ({ _tag: "Replace", value })
const remove: Op = { _tag: "Remove" }
const read: Op = { _tag: "Read" }
const ok: Result = { _tag: "Ok" }
const value = (value?: string): Result => ({ _tag: "Value", value })
const exists: Result = { _tag: "AlreadyExists" }
const notFound: Result = { _tag: "NotFound" }
const conflict: Result = { _tag: "Conflict" }

/** One after the other. */
const sequence = (...steps: ReadonlyArray<readonly [Op, Result]>): History =>
  steps.flatMap(([op, result], id) => [invoke(id, op), answer(id, result)])

const verdictOf = (history: History, limit?: number) =>
  Linearizability.check({ model: Linearizability.documentModel, history, limit })

const accepts = (history: History) => {
  const verdict = verdictOf(history)
  assert.isTrue(verdict.ok, Linearizability.describe(verdict))
}
const rejects = (history: History) => {
  const verdict = verdictOf(history)
  if (verdict.ok) return assert.fail(Linearizability.describe(verdict))
  return { placed: verdict.prefix.map(({ id }) => id), stuckAt: verdict.stuckAt.map(({ id }) => id) }
}

interface Shape {
  readonly clients: number
  readonly operations: number
  readonly unknown: number
}

/** What one atomic document answers to clients whose messages take random times. */
const simulated = (r: Random, { clients, operations, unknown }: Shape): History => {
  const effects: Array<{ readonly at: number; readonly run: () => void }> = []
  const events: Array<{ readonly at: number; readonly make: () => Event }> = []
  const free = Array.from({ length: clients }, () => r.unit())
  const open = new Set<number>()
  while (open.size < unknown) open.add(r.int(operations))
  let state: string | undefined
  let observed: ReadonlyArray<string> = ["?"]
  for (let id = 0; id < operations; id++) {
    const client = free.indexOf(Math.min(...free))
    const start = free[client]!
    const effect = start + r.unit()
    const end = effect + r.unit()
    free[client] = end + r.unit() / 2
    const kind = r.int(6)
    const operation: { op: Op; result: Result } = { op: read, result: ok }
    events.push({ at: start, make: () => invoke(id, operation.op, `c${client}`) })
    const run = () => {
      const seen = state
      switch (kind) {
        case 0:
          operation.op = insert(`i${id}`)
          operation.result = seen === undefined ? ok : exists
          state ??= `i${id}`
          return
        case 1:
          operation.op = replace(`r${id}`)
          state = `r${id}`
          return
        case 2:
          operation.op = remove
          state = undefined
          return
        case 3: {
          const expected = r.pick(observed)
          operation.op = update(expected, `u${id}`)
          operation.result = seen === undefined ? notFound : seen === expected ? ok : conflict
          if (seen === expected) state = `u${id}`
          return
        }
        default:
          operation.result = value(seen)
          if (seen !== undefined) observed = [...observed.slice(-2), seen]
      }
    }
    if (open.has(id)) {
      // Half of them never happen, the others perhaps long after the client has gone on.
      if (r.int(2) === 0) effects.push({ at: effect + r.int(3) * r.unit() * 10, run })
      else operation.op = r.pick([insert(`i${id}`), replace(`r${id}`), remove, read])
      events.push({ at: end, make: () => lost(id) })
    } else {
      effects.push({ at: effect, run })
      events.push({ at: end, make: () => answer(id, operation.result) })
    }
  }
  const byTime = (a: { readonly at: number }, b: { readonly at: number }) => a.at - b.at
  for (const { run } of effects.toSorted(byTime)) run()
  return events.toSorted(byTime).map(({ make }) => make())
}

/** Every order of every subset of the unknown operations with all of the others, one by one. */
const explainable = (history: History): boolean => {
  const at = (id: number, tags: ReadonlyArray<Event["_tag"]>) =>
    history.findIndex((event) => event.id === id && tags.includes(event._tag))
  const operations = history.flatMap((event) => {
    if (event._tag !== "Invoke" || at(event.id, ["Fail"]) >= 0) return []
    const end = at(event.id, ["Return"])
    const last = history[end]
    const result = last?._tag === "Return" ? last.result : undefined
    return [{ op: event.op, from: at(event.id, ["Invoke"]), to: end < 0 ? Infinity : end, result }]
  })
  const go = (state: Linearizability.DocumentState, left: typeof operations): boolean =>
    left.every(({ result }) => result === undefined) ||
    left.some(
      (first) =>
        left.every((other) => other.to >= first.from) &&
        Linearizability.documentModel.step(state, first.op, first.result).some((next) =>
          go(
            next,
            left.filter((other) => other !== first)
          )
        )
    )
  return go(Linearizability.documentModel.initial, operations)
}

/** It is an order of the model, with every answered operation once, each where it was under way. */
const assertOrder = (
  history: History,
  order: ReadonlyArray<Linearizability.Placed<Linearizability.DocumentState, Op, Result>>
) => {
  let state = Linearizability.documentModel.initial
  let begun = -1
  for (const { id, op, result, state: after } of order) {
    assert.deepInclude(Linearizability.documentModel.step(state, op, result), after)
    state = after
    const end = history.findIndex((event) => event.id === id && event._tag === "Return")
    assert.isTrue(end < 0 || end > begun)
    begun = Math.max(
      begun,
      history.findIndex((event) => event.id === id)
    )
  }
  const answered = history.flatMap((event) => (event._tag === "Return" ? [event.id] : []))
  const placed = order.flatMap(({ id, result }) => (result === undefined ? [] : [id]))
  assert.deepStrictEqual(placed.toSorted(), answered.toSorted())
}

describe("Linearizability", () => {
  it("accepts what happens one after the other", () => {
    accepts([])
    accepts(
      sequence(
        [read, notFound],
        [read, value()],
        [update("a", "b"), notFound],
        [remove, ok],
        [remove, notFound],
        [insert("a"), ok],
        [insert("b"), exists],
        [read, value("a")],
        [update("x", "y"), conflict],
        [update("a", "b"), value("b")],
        [{ _tag: "Remove", expected: "a" }, conflict],
        [replace("c"), ok],
        [{ _tag: "Remove", expected: "c" }, ok],
        [{ _tag: "Remove", expected: "c" }, notFound],
        [read, value()],
        [replace("d"), value("d")]
      )
    )
  })

  it("refuses results that nothing can have", () => {
    rejects(sequence([insert("a"), notFound]))
    rejects(sequence([insert("a"), conflict]))
    rejects(sequence([insert("a"), value("b")]))
    rejects(sequence([replace("a"), exists]))
    rejects(sequence([remove, value()]))
    rejects(sequence([read, ok]))
    rejects(sequence([insert("a"), ok], [remove, notFound]))
    rejects(sequence([insert("a"), ok], [update("a", "b"), conflict]))
    rejects(sequence([update("a", "b"), ok]))
  })

  it("accepts concurrent operations in any order that fits", () => {
    // The read begins before the insert returns, so it may see it or not.
    for (const seen of [value(), value("a")]) {
      accepts([invoke(1, insert("a")), invoke(2, read), answer(2, seen), answer(1, ok)])
    }
    // Of two racing inserts either can win, the second one of the list too.
    accepts([invoke(1, insert("a")), invoke(2, insert("b")), answer(1, exists), answer(2, ok)])
    // Two reads that see two writes one after the other.
    accepts([
      invoke(1, replace("a")),
      invoke(2, replace("b")),
      invoke(3, read),
      answer(3, value("b")),
      invoke(4, read),
      answer(4, value("a")),
      answer(1, ok),
      answer(2, ok)
    ])
  })

  it("an unknown outcome may have happened, at any later time, or not", () => {
    const start = [invoke(1, insert("a")), lost(1)]
    accepts([...start, invoke(2, read), answer(2, value("a"))])
    accepts([...start, invoke(2, read), answer(2, value())])
    accepts([...start, invoke(2, read), answer(2, value()), invoke(3, read), answer(3, value("a"))])
    accepts([...start, invoke(2, insert("b")), answer(2, exists), invoke(3, read), answer(3, value("a"))])
    rejects([...start, invoke(2, read), answer(2, value("a")), invoke(3, read), answer(3, value())])
    rejects([...start, invoke(2, insert("b")), answer(2, exists), invoke(3, read), answer(3, value())])
    // It happens once only.
    const twice = [answer(2, ok), invoke(3, read), answer(3, value("a")), invoke(4, remove), answer(4, ok)]
    rejects([...start, invoke(2, remove), ...twice, invoke(5, read), answer(5, value("a"))])
    // Not before it was begun.
    rejects([invoke(1, read), answer(1, value("a")), invoke(2, insert("a")), lost(2)])
    // One that never ends is one of them.
    accepts([invoke(1, insert("a")), invoke(2, read), answer(2, value("a"))])
  })

  it("of equal unknown outcomes as many can happen as there are", () => {
    const removes = [1, 2].flatMap((id) => [invoke(id, remove), lost(id)])
    const round = (id: number) => [invoke(id, insert(`v${id}`)), answer(id, ok)]
    accepts([...removes, ...round(10), ...round(11), ...round(12)])
    rejects([...removes, ...round(10), ...round(11), ...round(12), ...round(13)])
    rejects([...removes.slice(0, 2), ...round(10), ...round(11), ...round(12), ...removes.slice(2)])
  })

  it("what has failed has not happened", () => {
    accepts([invoke(1, insert("a")), failed(1), invoke(2, insert("b")), answer(2, ok)])
    rejects([invoke(1, insert("a")), failed(1), invoke(2, read), answer(2, value("a"))])
  })

  it("finds a lost update", () => {
    const both = [invoke(1, update("0", "a")), invoke(2, update("0", "b")), answer(1, ok), answer(2, ok)]
    assert.deepStrictEqual(rejects([invoke(0, insert("0")), answer(0, ok), ...both]), {
      placed: [0, 1],
      stuckAt: [2]
    })
  })

  it("finds a stale read", () => {
    const writes = sequence([insert("a"), ok], [update("a", "b"), ok])
    assert.deepStrictEqual(rejects([...writes, invoke(2, read), answer(2, value("a"))]), {
      placed: [0, 1],
      stuckAt: [2]
    })
  })

  it("finds a duplicate insert, a resurrected document and a value that was never written", () => {
    rejects(sequence([insert("a"), ok], [insert("b"), ok]))
    rejects(sequence([insert("a"), ok], [remove, ok], [read, value("a")]))
    rejects(sequence([insert("a"), ok], [remove, ok], [update("a", "b"), ok]))
    rejects(sequence([insert("a"), ok], [read, value("b")]))
    // Readers that disagree on the order of two writes.
    rejects([
      invoke(1, replace("a")),
      invoke(2, replace("b")),
      invoke(3, read),
      answer(3, value("a")),
      invoke(4, read),
      answer(4, value("b")),
      invoke(5, read),
      answer(5, value("a")),
      answer(1, ok),
      answer(2, ok)
    ])
  })

  it("gives the order that it found", () => {
    const verdict = verdictOf([
      invoke(1, replace("lost")),
      lost(1),
      invoke(2, replace("also lost")),
      lost(2),
      invoke(3, insert("a")),
      invoke(4, read),
      answer(4, value("a")),
      answer(3, ok),
      invoke(5, read),
      answer(5, value("lost"))
    ])
    if (!verdict.ok) return assert.fail(Linearizability.describe(verdict))
    assert.deepStrictEqual(
      verdict.order.map(({ id, state }) => [id, state.value]),
      [
        [3, "a"],
        [4, "a"],
        [1, "lost"],
        [5, "lost"]
      ]
    )
  })

  it("describes a verdict", () => {
    assert.strictEqual(
      Linearizability.describe(
        verdictOf([
          invoke(1, insert("a"), "x"),
          answer(1, ok),
          invoke(2, replace("b"), "y"),
          lost(2),
          invoke(3, read, "z"),
          invoke(4, read, "x"),
          answer(3, value("c")),
          answer(4, value("b"))
        ])
      ),
      [
        "not linearizable: 3 in order",
        '  #1 x: Insert value="a" -> Ok => value="a"',
        '  #2 y: Replace value="b" -> unknown => value="b"',
        '  #4 x: Read -> Value value="b" => value="b"',
        "no place for",
        '  #3 z: Read -> Value value="c"'
      ].join("\n")
    )
    const long = Linearizability.describe(verdictOf(sequence([insert("a"), ok], [remove, ok], [remove, ok])), {
      last: 1
    })
    assert.strictEqual(
      long,
      ["linearizable: 3 operations in order", "  ... 2 more", "  #2 p2: Remove -> Ok => value=undefined"].join("\n")
    )
  })

  it("refuses a history that is none", () => {
    assert.throws(() => verdictOf([invoke(1, read), invoke(1, read)]), "twice")
    assert.throws(() => verdictOf([answer(1, ok)]), "before its invocation")
    assert.throws(() => verdictOf([invoke(1, read), lost(1), answer(1, ok)]), "twice")
    assert.throws(() => verdictOf(sequence([insert("a"), ok], [remove, ok]), 1), "gave up")
  })

  it("agrees with trying everything", () => {
    let good = 0
    let bad = 0
    for (let seed = 0; seed < 3000; seed++) {
      const r = random(seed)
      const results = [ok, ok, value("a"), value("b"), value(), exists, conflict, notFound]
      const ops = [insert("a"), insert("b"), update("a", "b"), update("b", "a"), replace("a"), remove, read, read]
      const open: Array<number> = []
      const history: Array<Event> = []
      for (let id = 0; id < 7 || open.length > 0;) {
        if (id < 7 && (open.length === 0 || r.int(2) === 0)) {
          open.push(id)
          history.push(invoke(id++, r.pick(ops)))
          continue
        }
        const [ended = 0] = open.splice(r.int(open.length), 1)
        const op = history.flatMap((event) => (event._tag === "Invoke" && event.id === ended ? [event.op] : []))[0]
        const fitting = results.filter((result) => (op?._tag === "Read") === (result._tag === "Value"))
        history.push(
          r.pick([answer(ended, r.pick(fitting)), answer(ended, r.pick(fitting)), lost(ended), failed(ended)])
        )
      }
      const expected = explainable(history)
      if (expected) good += 1
      else bad += 1
      const verdict = verdictOf(history)
      assert.strictEqual(verdict.ok, expected, `seed ${seed}\n${Linearizability.describe(verdict)}`)
      if (verdict.ok) assertOrder(history, verdict.order)
    }
    assert.isTrue(good > 300 && bad > 300, `${good} good, ${bad} bad`)
  })

  it("accepts every history of an atomic document, and few of those with another read", () => {
    let found = 0
    let altered = 0
    for (let seed = 0; seed < 60; seed++) {
      const r = random(seed)
      const history = simulated(r, { clients: 5, operations: 300, unknown: 20 })
      const verdict = verdictOf(history, 100_000)
      assert.isTrue(verdict.ok, `seed ${seed}\n${Linearizability.describe(verdict)}`)
      const reads = history.flatMap((event, index) =>
        event._tag === "Return" && event.result._tag === "Value" && event.result.value !== undefined
          ? [{ index, id: event.id, was: event.result.value }]
          : []
      )
      const one = r.pick(reads)
      const other = r.pick(reads.filter(({ was }) => was !== one.was))
      altered += 1
      if (!verdictOf(history.with(one.index, answer(one.id, value(other.was))), 200_000).ok) found += 1
    }
    assert.isTrue(found > 0.9 * altered, `${found} of ${altered}`)
  })

  it("takes a model of one's own", () => {
    // A list that is only ever added to: each order of additions is a state of its own.
    type Add = { readonly add: string }
    type List = { readonly list: string }
    const model: Linearizability.Model<string, Add, List> = {
      initial: "",
      step: (state, { add }, result) => {
        const after = state + add
        return result === undefined || result.list === after ? [after] : []
      },
      key: (state) => state
    }
    const history: Array<Linearizability.Event<Add, List>> = []
    const letters = "abcdefghijklmnopqrst".split("")
    letters.forEach((add, id) => history.push({ _tag: "Invoke", id, process: "lost", op: { add } }))
    let list = ""
    for (let id = 20; id < 120; id++) {
      if (id % 10 === 0) list += letters[id / 10] ?? ""
      if (id % 30 === 0) list += letters[id / 30 + 12] ?? ""
      list += `${id};`
      history.push({ _tag: "Invoke", id, process: "p", op: { add: `${id};` } })
      history.push({ _tag: "Return", id, result: { list } })
    }
    assert.isTrue(Linearizability.check({ model, history, limit: 100_000 }).ok)
    // Several states after one operation: a coin.
    const coin: Linearizability.Model<boolean, "toss" | "look", { readonly heads: boolean } | "done"> = {
      initial: true,
      step: (state, op, result) => {
        if (op === "toss") return [true, false]
        return typeof result === "object" && result.heads !== state ? [] : [state]
      },
      key: String
    }
    const looks = (heads: ReadonlyArray<boolean>) =>
      Linearizability.check({
        model: coin,
        history: [
          { _tag: "Invoke", id: 0, process: "p", op: "toss" },
          { _tag: "Return", id: 0, result: "done" },
          ...heads.flatMap((heads, index) => [
            { _tag: "Invoke" as const, id: index + 1, process: "p", op: "look" as const },
            { _tag: "Return" as const, id: index + 1, result: { heads } }
          ])
        ]
      }).ok
    assert.deepStrictEqual([looks([true]), looks([false, false]), looks([false, true])], [true, true, false])
  })

  it.effect("records what happens", () =>
    Effect.gen(function* () {
      const recorder = Linearizability.makeRecorder<Op, Result>()
      const recorded = <A, E>(effect: Effect.Effect<A, E>, onFailure: Linearizability.Outcome<Result>) =>
        recorder.record({ process: "p", op: () => read, effect, onSuccess: () => ok, onFailure: () => onFailure })
      assert.strictEqual(yield* recorded(Effect.succeed(1), { _tag: "Fail" }), 1)
      assert.strictEqual(yield* Effect.flip(recorded(Effect.fail("no"), { _tag: "Fail" })), "no")
      yield* Effect.flip(recorded(Effect.fail("no"), { _tag: "Return", result: conflict }))
      assert.isTrue(Exit.hasDies(yield* Effect.exit(recorded(Effect.die("bug"), { _tag: "Fail" }))))
      const fiber = yield* Effect.forkChild(recorded(Effect.never, { _tag: "Fail" }), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      let op: Op = read
      yield* recorder.record({
        process: "q",
        op: () => op,
        effect: Effect.sync(() => {
          op = update("a", "b")
        }),
        onSuccess: () => ok,
        onFailure: () => ({ _tag: "Unknown" })
      })
      assert.deepStrictEqual(yield* recorder.history, [
        invoke(0, read, "p"),
        answer(0, ok),
        invoke(1, read, "p"),
        failed(1),
        invoke(2, read, "p"),
        answer(2, conflict),
        invoke(3, read, "p"),
        lost(3),
        invoke(4, read, "p"),
        lost(4),
        invoke(5, update("a", "b"), "q"),
        answer(5, ok)
      ])
    })
  )

  it.effect("sees that conditional writes through a faulty store are atomic, and unconditional ones are not", () =>
    Effect.gen(function* () {
      let refuted = 0
      for (let seed = 0; seed < 20; seed++) {
        accepts(yield* registerHistory(seed, true))
        if (!verdictOf(yield* registerHistory(seed, false)).ok) refuted += 1
      }
      assert.isTrue(refuted > 0)
    })
  )
})

/** Clients that read and write one object through networks that fail them. */
const registerHistory = Effect.fnUntraced(function* (seed: number, conditional: boolean) {
  const { store: inner } = yield* MemoryStore.make()
  const recorder = Linearizability.makeRecorder<Op, Result>()
  const faults: FaultyStore.Faults = {
    delay: { probability: 0.8, maxMillis: 50 },
    throttle: 0.05,
    errorBefore: 0.05,
    errorAfter: 0.05,
    late: { probability: 0.02, maxMillis: 500 }
  }
  const clients = ["a", "b", "c", "d"].map((client, index) => ({
    client,
    r: random(seed * 10 + index),
    ...FaultyStore.make(inner, { seed, client, faults, crashAt: index === 0 ? 40 : undefined, crashWhen: "after" })
  }))
  const fiber = yield* Effect.forkChild(
    Effect.forEach(
      clients,
      ({ client, r, store }) => FaultyStore.untilCrash(registerClient(client, r, store, recorder, conditional)),
      { concurrency: "unbounded", discard: true }
    ).pipe(Pauses.byClock)
  )
  while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("20 millis")
  yield* Fiber.join(fiber)
  yield* TestClock.adjust("1 second")
  return yield* recorder.history
})

const registerClient = Effect.fnUntraced(function* (
  client: string,
  r: Random,
  faulty: ObjectStore["Service"],
  recorder: Linearizability.Recorder<Op, Result>,
  conditional: boolean
) {
  const store = RetryingStore.make(faulty)
  const textOf = (body: Uint8Array | undefined) => new TextDecoder().decode(body)
  const onFailure = (error: StoreError): Linearizability.Outcome<Result> => {
    if (error.outcome === "unknown") return { _tag: "Unknown" }
    switch (error.reason._tag) {
      case "NoSuchKey":
        return { _tag: "Return", result: notFound }
      case "PreconditionFailed":
        return error.reason.afterUnknown === true ? { _tag: "Unknown" } : { _tag: "Fail" }
      default:
        return { _tag: "Fail" }
    }
  }
  for (let turn = 0; turn < 20; turn++) {
    const body = `${client}${turn}`
    const process = client
    const get = store.get("k")
    yield* Effect.ignore(
      r.int(2) === 0
        ? recorder.record({
            process,
            op: () => read,
            effect: get,
            onSuccess: (found) => value(textOf(found.body)),
            onFailure
          })
        : Effect.flatMap(Effect.option(get), (found) => {
            const before = found._tag === "Some" ? found.value : undefined
            const condition =
              before === undefined ? { ifNoneMatch: "*" as const } : conditional ? { ifMatch: before.etag } : {}
            return recorder.record({
              process,
              op: () => (before === undefined ? insert(body) : update(textOf(before.body), body)),
              effect: store.put({ key: "k", body: new TextEncoder().encode(body), ...condition }),
              onSuccess: () => ok,
              onFailure
            })
          })
    )
  }
})
