/** Resources with an index of places, and vectors. */
import * as Schema from "effect/Schema"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Geo from "effect-s3db/plugins/Geo"
import * as Vector from "effect-s3db/plugins/Vector"
import * as VectorIndex from "effect-s3db/plugins/VectorIndex"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"

const schema = Schema.Struct({
  id: Schema.String,
  tenant: Schema.String,
  kind: Schema.optionalKey(Schema.String),
  internal: Schema.optionalKey(Schema.String),
  at: Schema.optionalKey(Geo.Point),
  like: Schema.optionalKey(Attribute.Embedding(2))
})

export class Shops extends Resource.Service<Shops>()("near/shops", {
  schema,
  primaryKey: "id",
  partitions: { byTenant: ["tenant"] },
  companions: Geo.companions("at"),
  journal: true
}) {}
export class Papers extends Resource.Service<Papers>()("near/papers", {
  schema,
  primaryKey: "id",
  partitions: { byTenant: ["tenant"] }
}) {}

export class ShopsByPlace extends Geo.Service<ShopsByPlace>()("near/ShopsByPlace", { resource: Shops, field: "at" }) {}
export class AlikeShops extends VectorIndex.Service<AlikeShops>()("near/AlikeShops", {
  resource: Shops,
  field: "like",
  metric: "euclidean",
  indexes: false,
  maxAge: 0
}) {}
export class AlikePapers extends Vector.Service<AlikePapers>()("near/AlikePapers", {
  resource: Papers,
  field: "like",
  metric: "euclidean"
}) {}

export const shops = HttpResources.expose(Shops, {
  protect: ["internal"],
  protectUnless: [{ paths: ["at", "like"], roles: ["admin"] }],
  hideForbidden: true,
  places: ShopsByPlace,
  vectors: AlikeShops,
  views: { ids: { fields: ["id"] }, cafes: { where: { kind: "cafe" } } },
  maxLimit: 50
})
export const open = HttpResources.expose(Papers, { vectors: AlikePapers })
export const Api = HttpResources.api("nearest", [shops, open], { prefix: "/api" })
