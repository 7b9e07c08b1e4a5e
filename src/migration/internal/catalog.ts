/** What `s3db.json` says of a database of s3db.js. */
import * as Schema from "effect/Schema"

const Anything = Schema.Record(Schema.String, Schema.Unknown)

const Version = Schema.Struct({
  attributes: Anything,
  behavior: Schema.optionalKey(Schema.NullOr(Schema.String)),
  timestamps: Schema.optionalKey(Schema.Unknown),
  partitions: Schema.optionalKey(Schema.NullOr(Anything)),
  paranoid: Schema.optionalKey(Schema.Unknown),
  allNestedObjectsOptional: Schema.optionalKey(Schema.Unknown)
})

const Registry = Schema.Struct({ mapping: Schema.Record(Schema.String, Schema.Int) })

const Resource = Schema.Struct({
  currentVersion: Schema.String,
  versions: Schema.Record(Schema.String, Version),
  /** Of releases from 17 on: which field has which place, whatever was declared when. */
  schemaRegistry: Schema.optionalKey(Schema.NullOr(Registry))
})

export type StoredVersion = typeof Version.Type
export type StoredResource = typeof Resource.Type

/** Resources one by one: one that is damaged takes nothing from the others. */
export const Catalog = Schema.fromJsonString(
  Schema.Struct({
    version: Schema.optionalKey(Schema.Unknown),
    s3dbVersion: Schema.optionalKey(Schema.Unknown),
    resources: Anything
  })
)

export const decodeResource = Schema.decodeUnknownOption(Resource)
