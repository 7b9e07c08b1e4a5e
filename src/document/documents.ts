/**
 * The documents of one resource in the store: puts the parts of the write protocol together.
 *
 * **Details**
 *
 * A write goes from `writer` to `write`, `remove` or `transactional`, is made ready by `prepare`, and sent by `commit`; see
 * `docs/design/walks.md`.
 *
 * @since 0.1.0
 */
import type { Database } from "../Database.ts"
import type { Definition } from "../Definition.ts"
import type { DocumentSchema } from "../schema/Attributes.ts"
import type { DocumentCodec } from "./codec.ts"
import type { Companions } from "./companions.ts"
import * as BlindKeys from "./blindKeys.ts"
import * as Committer from "./commit.ts"
import * as Contents from "./contents.ts"
import * as Context from "./context.ts"
import * as Discarding from "./discard.ts"
import * as Journal from "./journal.ts"
import * as Indexes from "./indexes.ts"
import * as Preparation from "./prepare.ts"
import * as Reader from "./read.ts"
import * as Removing from "./remove.ts"
import * as Reservations from "./reservations.ts"
import * as transactional from "./transactional.ts"
import * as Versions from "./versions.ts"
import * as Writing from "./write.ts"
import * as Writer from "./writer.ts"

/**
 * The parts of the write protocol of one resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Documents<A> {
  readonly context: Context.Context<A>
  readonly indexes: Indexes.Indexes<A>
  readonly reader: Reader.Reader<A>
  readonly preparation: Preparation.Preparation<A>
  readonly reservations: Reservations.Reservations
  readonly blindKeys: BlindKeys.BlindKeys
  readonly versions: Versions.Versions<A>
  readonly writing: Writing.Writing<A>
  readonly writer: Writer.Writer<A>
  readonly contents: Contents.Contents<A>
  readonly discarding: Discarding.Discarding<A>
}

/**
 * Opens the documents of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <S extends DocumentSchema>(
  definition: Definition<S>,
  database: Database["Service"],
  codec: DocumentCodec<S["Type"]>,
  companions: Companions
): Documents<S["Type"]> => {
  const context = Context.make(definition, database, codec, companions)
  const indexes = Indexes.make(context)
  const journal = Journal.make(context)
  const reader = Reader.make(context)
  const preparation = Preparation.make(context, indexes)
  const reservations = Reservations.make(context, reader)
  const versions = Versions.make(context, reader)
  const committer = Committer.make(context, { indexes, journal, preparation, reader, reservations, versions })
  const discarding = Discarding.make(context, { indexes, journal, reader, versions })
  const writing = Writing.make(context, { committer, discarding, indexes, preparation, reader })
  const removing = Removing.make(context, { committer, indexes, reader })
  const within = transactional.make(context, { committer, journal, preparation, reader, reservations, versions })
  return {
    context,
    indexes,
    reader,
    preparation,
    reservations,
    blindKeys: BlindKeys.make(context, indexes),
    versions,
    writing,
    writer: Writer.make(context, { ...writing, ...removing }, within),
    contents: Contents.make(context, { preparation, reader, writing }),
    discarding
  }
}
