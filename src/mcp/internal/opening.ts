/** Resources as whoever asks may see them. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Database from "../../Database.ts"
import { ExpectedError } from "../../internal/expectedError.ts"
import { nearest } from "../../internal/nearest.ts"
import * as Resource from "../../Resource.ts"
import { type Access, isVisible } from "../Access.ts"
import * as updates from "./updates.ts"

/**
 * A resource that is not there, or not for whoever asks: the same to them.
 *
 * @remedy Name one of the resources that the message lists, or let the operator allow it.
 */
export class NoResource extends ExpectedError<NoResource>("effect-s3db/mcp/NoResource")("NoResource", {
  description: Schema.String
}) {}

/** The names that are listed in a message. */
const listed = 50

/** The resources that are there, as the catalog has them now. 1 GET. */
export const resources = Effect.fnUntraced(function* (access: Access) {
  const database = yield* Database.Database
  yield* database.refresh
  const visible = (yield* database.listResources).filter(({ name }) => isVisible(access, name))
  updates.notice(database, visible)
  return visible
})

/** What a resource is, by its newest definition. 1 GET. */
export const definition = Effect.fnUntraced(function* (access: Access, name: string) {
  const names = (yield* resources(access)).map((one) => one.name)
  if (!names.includes(name)) {
    const near = nearest(name, names)
    const more = names.length > listed ? ` and ${names.length - listed} more` : ""
    const there = names.length === 0 ? "there is none" : `there are ${names.slice(0, listed).join(", ")}${more}`
    return yield* new NoResource({
      description: `there is no resource called ${JSON.stringify(name.slice(0, 200))}: ${there}${near === undefined ? "" : `; did you mean ${near}?`}`
    })
  }
  return yield* Resource.fromCatalog(name)
})

/** Opens a resource. 1 GET. */
export const open = Effect.fnUntraced(function* (access: Access, name: string) {
  const defined = yield* definition(access, name)
  return { definition: defined, repository: yield* Resource.make(defined) }
})
