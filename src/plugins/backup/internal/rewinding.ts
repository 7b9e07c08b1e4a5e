/** Resources as they were at a time, by their history. */
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Database } from "../../../Database.ts"
import * as DbError from "../../../DbError.ts"
import * as History from "../../../History.ts"
import type { DynamicSchema } from "../../../Portable.ts"
import type * as Repository from "../../../Repository.ts"
import * as Resource from "../../../Resource.ts"
import { listAll } from "../../../storage/ObjectStore.ts"

export interface Options {
  readonly resources: ReadonlyArray<string>
  readonly time: DateTime.DateTime
  readonly dryRun?: boolean | undefined
  readonly concurrency?: number | undefined
}

/** Why one document could not be brought back. */
export type Reason =
  | Repository.ChangeError
  | Repository.InsertError
  | Repository.HistoryError
  | Repository.DeleteError
  | DbError.TransactionConflict
  | DbError.UniqueViolation

export interface Rewound {
  readonly resource: string
  readonly id: string
  /** `Failed`: it is as it was before, and `reason` says why. */
  readonly outcome: "Restored" | "Deleted" | "Unchanged" | "Failed"
  readonly reason?: Reason | undefined
}

/** What has to be done with a document. */
type Due = "Restored" | "Deleted" | "Unchanged"

/** So many documents that hold each other's unique values are brought back in one transaction. */
const mostTogether = 100

const isTaken = ({ reason }: Rewound): boolean => reason?._tag === "UniqueViolation"

const of = Effect.fnUntraced(function* (
  name: string,
  { concurrency = 8, dryRun = false, time }: Options
): Effect.fn.Return<
  Stream.Stream<Rewound, DbError.DbError | Repository.HistoryError>,
  DbError.DbError | DbError.NotAllowed,
  Database
> {
  const database = yield* Database
  const definition = yield* Resource.fromCatalog(name)
  if (!definition.history) {
    const description = "declare the resource with history: true, so that there is something to go back to"
    return yield* new DbError.NotAllowed({ resource: name, operation: "Backup.rewind", description })
  }
  const repository: Repository.Repository<DynamicSchema> = yield* Resource.make(definition)
  const { store, transaction } = database

  const due = Effect.fnUntraced(function* (id: string): Effect.fn.Return<Due, Repository.HistoryError> {
    const now = yield* repository.getDocument(id).pipe(
      Effect.asSome,
      Effect.catchTags({
        NotFound: () => Effect.succeedNone,
        // What cannot be read is of a time that nobody knows.
        DbError: (error) => (error.reason._tag === "Corrupt" ? Effect.succeedNone : Effect.fail(error))
      })
    )
    if (Option.isSome(now) && now.value.writtenAt.epochMilliseconds <= time.epochMilliseconds) return "Unchanged"
    const then = yield* repository.getAt(id, { time }).pipe(
      Effect.asSome,
      Effect.catchTag("NotFound", () => Effect.succeedNone)
    )
    if (Option.isSome(then)) return "Restored"
    return Option.isSome(now) ? "Deleted" : "Unchanged"
  })

  const told = (id: string, outcome: Rewound["outcome"], reason?: Reason): Rewound => ({
    resource: name,
    id,
    outcome,
    ...(reason === undefined ? {} : { reason })
  })

  const done = <A>(id: string, outcome: Rewound["outcome"], effect: Effect.Effect<A, Reason>): Effect.Effect<Rewound> =>
    dryRun
      ? Effect.succeed(told(id, outcome))
      : Effect.match(effect, { onSuccess: () => told(id, outcome), onFailure: (reason) => told(id, "Failed", reason) })

  /** What has been deleted here is listed as gone afterwards. */
  const deletedHere = new Set<string>()
  const deleted = (id: string) => {
    deletedHere.add(id)
    return done(id, "Deleted", repository.delete(id))
  }
  const restored = (id: string) => done(id, "Restored", repository.restore(id, { time }))

  /** Those that hold each other's unique values: all of them or none. */
  const together = (some: ReadonlyArray<Rewound>): Effect.Effect<ReadonlyArray<Rewound>> => {
    const all = Effect.forEach(some, ({ id }) => repository.restore(id, { time }), { discard: true })
    return some.length === 0
      ? Effect.succeed([])
      : Effect.match(transaction(all), {
          onSuccess: () => some.map(({ id }) => told(id, "Restored")),
          onFailure: (reason) => some.map(({ id }) => told(id, "Failed", reason))
        })
  }

  const past = listAll(store, { prefix: History.prefix(name), keysOnly: true }).pipe(
    Stream.map(({ key }) => History.parse(key)?.id),
    Stream.filter((id): id is string => id !== undefined && !deletedHere.has(id)),
    Stream.changes,
    Stream.mapError(DbError.fromStore("Backup.rewind", name))
  )
  const gone = past.pipe(
    Stream.mapEffect((id) => Effect.map(repository.exists(id), (isThere) => (isThere ? [] : [id])), { concurrency }),
    Stream.flattenIterable
  )

  // What was created since comes first: it may hold a value that another one had.
  const toRestore: Array<string> = []
  const first = Stream.concat(repository.listIds(), gone).pipe(
    Stream.mapEffect(
      Effect.fnUntraced(function* (id) {
        const what = yield* due(id)
        if (what === "Restored") {
          toRestore.push(id)
          return []
        }
        return [what === "Deleted" ? yield* deleted(id) : told(id, "Unchanged")]
      }),
      { concurrency }
    ),
    Stream.flattenIterable
  )
  const taken: Array<Rewound> = []
  const second = Stream.suspend(() => Stream.fromIterable(toRestore)).pipe(
    Stream.mapEffect(restored, { concurrency }),
    Stream.filter((one) => {
      if (!isTaken(one)) return true
      taken.push(one)
      return false
    })
  )
  /** Some had to wait for others only; what is left then may be a circle. */
  const third = Stream.suspend(() => Stream.fromIterable(taken.splice(0))).pipe(
    Stream.mapEffect(({ id }) => restored(id)),
    Stream.filter((one) => {
      if (!isTaken(one)) return true
      taken.push(one)
      return false
    })
  )
  const fourth = Stream.suspend(() =>
    taken.length > mostTogether
      ? Stream.fromIterable(taken)
      : Stream.flattenIterable(Stream.fromEffect(Effect.suspend(() => together(taken))))
  )
  return Stream.concat(Stream.concat(first, second), Stream.concat(third, fourth))
})

export const rewind = (options: Options): Stream.Stream<Rewound, DbError.DbError | Repository.HistoryError, Database> =>
  Stream.flatMap(Stream.fromIterable(options.resources), (name) => Stream.unwrap(of(name, options)))
