/**
 * The errors of this library: expected, typed, and told in one line.
 *
 * They differ from those of `Schema.TaggedError` in what a person gets to see. The name is the tag, without the path of the
 * module. There is no stack: where the library makes an error tells nobody anything, and the places of the program are those
 * of its spans, which `Cause.pretty` adds. `console.log`, and so the loggers for people, show the line instead of the fields,
 * which JSON has as before. The message is the `description`, where an error says no other.
 */
import { NodeInspectSymbol } from "effect/Inspectable"
import * as Schema from "effect/Schema"

/** What is made of an error's class to get another with the same statics. */
type ErrorClass = new (...args: ReadonlyArray<unknown>) => Error

/** `Schema.TaggedError` for errors that are told in one line. */
export const ExpectedError = ((identifier: string) => (tag: string, fields: {}, annotations?: {}) => {
  const Base: unknown = Schema.TaggedError<Error>(identifier)(tag, fields, annotations)
  return inOneLine(tag, Base as ErrorClass)
}) as unknown as typeof Schema.TaggedError

const inOneLine = (tag: string, Base: ErrorClass): ErrorClass => {
  class OneLine extends Base {
    constructor(...args: ReadonlyArray<unknown>) {
      const limit = Error.stackTraceLimit
      // Not an assignment, which throws where intrinsics are frozen.
      Reflect.set(Error, "stackTraceLimit", 0)
      try {
        super(...args)
      } finally {
        Reflect.set(Error, "stackTraceLimit", limit)
      }
    }

    override get message(): string {
      return "description" in this && typeof this.description === "string" ? this.description : ""
    }

    [NodeInspectSymbol](): string {
      return this.message === "" ? this.name : `${this.name}: ${this.message}`
    }
  }
  Object.defineProperty(OneLine.prototype, "name", { value: tag, configurable: true, writable: true })
  return OneLine
}
