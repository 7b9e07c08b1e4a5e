/** A replica of several resources needs the services of all of them. */
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Database } from "effect-s3db/Database"
import * as ReplicaSql from "effect-s3db/plugins/ReplicaSql"
import * as Replicator from "effect-s3db/plugins/Replicator"
import * as Resource from "effect-s3db/Resource"

const schema = Schema.Struct({ id: Schema.String, n: Schema.Int })
class Users extends Resource.Service<Users>()("effect-s3db/test/types/Replicator.types/Users", {
  schema,
  primaryKey: "id"
}) {}
class Orders extends Resource.Service<Orders>()("effect-s3db/test/types/Replicator.types/Orders", {
  schema,
  primaryKey: "id"
}) {}

const target = ReplicaSql.sqlite({ filename: "replica.db" })
const resources = [Replicator.resource(Users), Replicator.resource(Orders)] as const

export class Both extends Replicator.Service<Both>()("effect-s3db/test/types/Replicator.types/Both", {
  name: "both",
  target,
  resources: [Replicator.resource(Users), Replicator.resource(Orders)]
}) {}

export const all = [
  Replicator.make({ name: "both", target, resources }),
  Replicator.make({ name: "both", target, resources: [Replicator.resource(Users), Replicator.resource(Orders)] })
] as const

type Needs<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never

export const ofMake: Needs<Effect.Services<(typeof all)[number]>, Database | Orders | Scope.Scope | Users> = true
export const ofLayer: Needs<Layer.Services<typeof Both.layer>, Database | Orders | Users> = true
export const ofOne: Needs<Effect.Services<ReturnType<typeof one>>, Database | Scope.Scope | Users> = true
const one = () => Replicator.make({ name: "one", target, resources: [Replicator.resource(Users)] })
