/**
 * Replicas as messages in a queue: whatever publishes messages with an id and a key.
 *
 * ```ts
 * import * as Replicator from "effect-s3db/plugins/Replicator"
 * import * as ReplicaQueue from "effect-s3db/plugins/ReplicaQueue"
 * import * as Resource from "effect-s3db/Resource"
 * import { Console, Effect, Schema } from "effect"
 *
 * class Orders extends Resource.Service<Orders>()("app/orders", {
 *   schema: Schema.Struct({ id: Schema.String, total: Schema.Int }),
 *   primaryKey: "id",
 *   journal: { images: "both" }
 * }) {}
 *
 * const publisher: ReplicaQueue.Publisher<never> = {
 *   name: "console",
 *   publish: (messages) => Effect.forEach(messages, ({ body }) => Console.log(body), { discard: true })
 * }
 *
 * class Feed extends Replicator.Service<Feed>()("app/Feed", {
 *   name: "feed",
 *   target: Effect.succeed(ReplicaQueue.publisher(publisher)),
 *   resources: [Replicator.resource(Orders)]
 * }) {}
 * ```
 *
 * **Details**
 *
 * A message has one version of one document, as JSON: `resource`, `id`, `version`, `operation` (`insert`, `update`, `delete`, `snapshot`), `time`, `document` unless it is gone, and
 * `before` where the journal has it: what `QueueConsumer.applying` takes. Its `key` names the document, so that a queue which keeps the order of a key keeps that of the versions; its `id` names the version, so that
 * a queue which drops what it has had drops what is sent twice. Who reads takes the greatest `version` of a document.
 *
 * @see `docs/guide/replicating.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as ReplicaTarget from "./ReplicaTarget.ts"
import { keyOf, messageOf, nameOf } from "./replicator/internal/messages.ts"

/**
 * A message that is to be published.
 *
 * @category models
 * @since 0.1.0
 */
export interface Message {
  readonly body: string
  /** The same each time that the message is published: 43 characters. */
  readonly id: string
  /** The same for all messages of a document: 43 characters. */
  readonly key: string
}

/**
 * What publishes messages, in their order, all or any part of them; again with the same ids after it has failed. A failure whose `isRetryable` is `false`, or whose
 * `_tag` is `MessageRefused`, says that one of the messages cannot be published at any time.
 *
 * @category models
 * @since 0.1.0
 */
export interface Publisher<out E> {
  readonly name: string
  readonly publish: (messages: ReadonlyArray<Message>) => Effect.Effect<unknown, E>
}

const isRefusal = (error: unknown): boolean =>
  typeof error === "object" &&
  error !== null &&
  (Reflect.get(error, "isRetryable") === false || Reflect.get(error, "_tag") === "MessageRefused")

const messageIn = (error: unknown): string => {
  const message: unknown = typeof error === "object" && error !== null ? Reflect.get(error, "message") : error
  return typeof message === "string" && message !== "" ? message.slice(0, 300) : "it could not publish"
}

/**
 * Makes a target of what publishes messages.
 *
 * @category constructors
 * @since 0.1.0
 */
export const publisher = <E>({ name, publish }: Publisher<E>): ReplicaTarget.Target => ({
  kind: name,
  keeps: "changes",
  plan: () => Effect.succeed(ReplicaTarget.nothingToDo),
  run: () => Effect.void,
  apply: ({ changes, shape }) =>
    publish(
      changes.map((change) => ({
        body: JSON.stringify(messageOf(shape, change)),
        id: nameOf(shape, change),
        key: keyOf(shape, change.id)
      }))
    ).pipe(
      Effect.asVoid,
      Effect.mapError(
        (error) =>
          new ReplicaTarget.TargetError({
            target: name,
            problem: isRefusal(error) ? "Refused" : "Unavailable",
            description: messageIn(error)
          })
      )
    )
})
