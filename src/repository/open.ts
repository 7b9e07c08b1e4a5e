/**
 * Opens resources: one repository for each database and name, whoever opens it, with its interceptors, guards and feed.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Catalog from "../Catalog.ts"
import * as Change from "../Change.ts"
import { Database, tell } from "../Database.ts"
import * as DbError from "../DbError.ts"
import type { Definition, Services } from "../Definition.ts"
import * as Companions from "../document/companions.ts"
import * as BlindKeys from "../document/blindKeys.ts"
import * as DocumentCodec from "../document/codec.ts"
import * as Guard from "../Guard.ts"
import * as Pipeline from "../Pipeline.ts"
import * as Portable from "../Portable.ts"
import type { Names, Stored } from "../Names.ts"
import type { Operations, Repository } from "../Repository.ts"
import type { DocumentSchema } from "../schema/Attributes.ts"
import * as StoreError from "../storage/StoreError.ts"
import { type AnyOperations, type AnyRepository, make, type Shared } from "./make.ts"

/**
 * What a resource is opened with: in place before anybody has it.
 *
 * @category models
 * @since 0.1.0
 */
export interface With<S extends DocumentSchema, N extends Names = Names, Fields = Stored<S>> {
  /** Adds interceptors. */
  readonly prepare?:
    | ((pipeline: Pipeline.Pipeline<Operations<S, N, Fields>>) => Effect.Effect<void, never, Scope.Scope>)
    | undefined
  readonly guard?:
    | { readonly rules: Guard.Rules<S["Type"]>; readonly options?: Guard.InterceptorOptions | undefined }
    | undefined
}

/** A resource that is open. */
interface Entry<S extends DocumentSchema> {
  definition: Definition<S>
  repository: AnyRepository<S>
  readonly shared: Shared<S>
  /** The services that its codec is made with. */
  services: ReadonlyArray<unknown>
}

/**
 * Opens a resource, or gives the repository that is open. Registers its definition: see `Database.register` for requests.
 *
 * `Unsupported`: it is open with another definition, or needs a guard and has none.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = <S extends DocumentSchema, N extends Names>(
  definition: Definition<S, N>,
  parts: With<S, N> = {}
): Effect.Effect<Repository<S, N>, DbError.DbError, Database | Scope.Scope | Services<S["Type"]>> =>
  Effect.map(opened<S>(definition, withAnyNames(parts)), withNames<S, N>)

/**
 * What TypeScript knows of the names only narrows what a program can say: the repository is the same. Ids are read from
 * keys, which were made of documents, whose ids have the type of the field.
 */
const withNames = <S extends DocumentSchema, N extends Names>(repository: AnyRepository<S>): Repository<S, N> =>
  repository as unknown as Repository<S, N>

const withAnyNames = <S extends DocumentSchema, N extends Names>(parts: With<S, N>): With<S, Names, S["Type"]> =>
  parts as unknown as With<S, Names, S["Type"]>

const opened = Effect.fnUntraced(function* <S extends DocumentSchema>(
  definition: Definition<S>,
  parts: With<S, Names, S["Type"]>
): Effect.fn.Return<AnyRepository<S>, DbError.DbError, Database | Scope.Scope | Services<S["Type"]>> {
  const database = yield* Database
  const { lockOf, open } = database.resources
  const { name } = definition
  const opening = Effect.gen(function* () {
    // Which schema it has is known by its name alone: another definition of that name is refused below.
    const found = open.get(name) as Entry<S> | undefined
    const services = yield* DocumentCodec.servicesOf(definition)
    const areBothDeclared = found?.definition.origin === "program" && definition.origin === "program"
    if (areBothDeclared && !isSame(found.definition, definition)) {
      return yield* openOtherwise(name, "another definition")
    }
    if (found !== undefined && services.some((service, i) => service !== found.services[i])) {
      return yield* openOtherwise(name, "another KeyRing, PasswordHasher or encoding")
    }
    if (definition.guarded && parts.guard === undefined && found?.shared.pipeline.isGuarded() !== true) {
      return yield* needsGuard(name)
    }
    const entry = found ?? (yield* openNew(database, definition, services))
    yield* putInPlace(entry, parts)
    // Who has the repository when its last guard is gone has nothing.
    if (definition.guarded) entry.shared.pipeline.lock()
    if (entry.definition.origin === "catalog" && isNews(entry.definition, definition)) {
      // Who has opened it from the catalog goes on with what the program declares, or with what is in the catalog now.
      addCompanions(entry.shared.companions, definition)
      entry.repository = yield* repositoryOf(database, definition, entry.shared)
      entry.definition = definition
      entry.services = services
    }
    open.set(name, entry)
    return definition.origin === "catalog" ? following(entry) : entry.repository
  })
  return yield* opening.pipe(lockOf(name).withPermits(1), DbError.named("Resource.make", name))
})

const addCompanions = (
  companions: Companions.Companions,
  definition: Pick<Definition<DocumentSchema>, "companions" | "companionKeys">
) => {
  for (const [label, one] of Object.entries(definition.companions)) {
    companions.add(label, one, definition.companionKeys[label]!)
  }
}

const repositoryOf = Effect.fnUntraced(function* <S extends DocumentSchema>(
  database: Database["Service"],
  definition: Definition<S>,
  shared: Shared<S>
) {
  const codec = yield* DocumentCodec.make(definition, database)
  yield* BlindKeys.assign(definition.name, database, codec)
  return make(definition, database, codec, shared)
})

const openNew = Effect.fnUntraced(function* <S extends DocumentSchema>(
  database: Database["Service"],
  definition: Definition<S>,
  services: ReadonlyArray<unknown>
) {
  const { name } = definition
  const pipeline = yield* Pipeline.make<AnyOperations<S>>(name, { shared: database.resources.shared })
  const feed = yield* Change.makeFeed<S["Type"]>({ of: name })
  const companions = Companions.make()
  addCompanions(companions, definition)
  const shared: Shared<S> = { pipeline, feed, companions }
  const repository = yield* repositoryOf(database, definition, shared)
  yield* tell(database.lifecycle, "ResourceOpened", name)
  const entry: Entry<S> = { definition, repository, shared, services }
  return entry
})

/** Puts interceptors and guards in their place, until the scope closes. */
const putInPlace = Effect.fnUntraced(function* <S extends DocumentSchema>(
  entry: Entry<S>,
  { guard, prepare }: With<S, Names, S["Type"]>
) {
  const { pipeline } = entry.shared
  if (guard !== undefined) yield* pipeline.guard(Guard.interceptor(guard.rules, guard.options))
  if (prepare !== undefined) yield* prepare(pipeline)
})

/** Whether a definition says something else than one from the catalog did. */
const isNews = <S extends DocumentSchema>(known: Definition<S>, definition: Definition<S>): boolean =>
  definition.origin === "program" || Catalog.hash(known) !== Catalog.hash(definition)

/** The repository that is open now, also when a program declares the resource later. */
const following = <S extends DocumentSchema>(entry: Entry<S>): AnyRepository<S> =>
  new Proxy(entry.repository, { get: (_, member) => Reflect.get(entry.repository, member) })

const openOtherwise = (resource: string, other: string) => {
  const description = `${resource} is open with ${other} in this database: whoever opens it gets the same repository; open another database for another one`
  return new StoreError.Unsupported({ feature: "two repositories of a resource", description })
}

const needsGuard = (resource: string) => {
  const description = `${resource} is declared to need a guard: open it by Resource.guard first, and put interceptors on top of that by their layer option`
  return new StoreError.Unsupported({ feature: "opening without a guard", description })
}

/** Whether two declarations are of the same: by what travels, and, where not all of it does, by themselves. */
const isSame = <S extends DocumentSchema>(a: Definition<S>, b: Definition<S>): boolean => {
  if (a === b) return true
  const isOtherwise = (label: string) =>
    a.companionKeys[label] !== b.companionKeys[label] ||
    !Catalog.isSameDefinition(a.companions[label]!, b.companions[label]!)
  const labels = Object.keys(a.companions)
  if (labels.length !== Object.keys(b.companions).length || labels.some(isOtherwise)) return false
  if (a.schema !== b.schema || a.version !== b.version || Catalog.hash(a) !== Catalog.hash(b)) return false
  const portable = Portable.toDefinition(a.portable)
  const own = new Set(["migrations", "computed", "behavior"])
  return Result.isSuccess(portable) && !portable.success.portable.omitted.some(({ what }) => own.has(what))
}
