/** `seed`: documents for trying things out. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Json, JsonObject } from "../../../encoding/Json.ts"
import { isObject } from "../../../internal/json.ts"
import * as Wire from "../../../Wire.ts"
import { counted, Partial, Unreadable } from "../failure.ts"
import { Output } from "../output.ts"
import { resource, withDatabase } from "./opening.ts"
import type * as requests from "./requests.ts"

const words =
  "amber basil cedar delta ember fjord grove heron iris jade kelp lotus maple nectar olive pearl quartz river sage tulip umber violet willow yarrow zephyr".split(
    " "
  )

/** Makes values that fit a JSON Schema, as far as it says what fits: the resource checks them all the same. */
const valueOf = (schema: Json | undefined, name: string, defs: JsonObject, depth = 0): Effect.Effect<Json> =>
  Effect.gen(function* () {
    if (!isObject(schema ?? null)) return "x"
    const given = schema as JsonObject
    const pick = <A>(all: ReadonlyArray<A>) => Effect.map(Random.nextIntBetween(0, all.length - 1), (at) => all[at]!)
    if (typeof given["$ref"] === "string") {
      const inner = defs[given["$ref"].slice(given["$ref"].lastIndexOf("/") + 1)]
      return depth > 8 ? null : yield* valueOf(inner, name, defs, depth + 1)
    }
    if (given["const"] !== undefined) return given["const"] as Json
    if (Array.isArray(given["enum"])) return yield* pick(given["enum"] as ReadonlyArray<Json>)
    const some = given["anyOf"] ?? given["oneOf"]
    if (Array.isArray(some)) return yield* valueOf(yield* pick(some as ReadonlyArray<Json>), name, defs, depth + 1)
    // What further conditions say is together with what stands beside them.
    const all = Array.isArray(given["allOf"]) ? (given["allOf"] as ReadonlyArray<Json>).filter(isObject) : []
    const whole: JsonObject = Object.assign({}, given, ...all)
    const bound = (key: string) => (typeof whole[key] === "number" ? (whole[key] as number) : undefined)
    switch (whole["type"]) {
      case "integer":
      case "number": {
        const low = bound("minimum") ?? (bound("exclusiveMinimum") ?? -1) + 1
        const high =
          bound("maximum") ?? (bound("exclusiveMaximum") === undefined ? low + 80 : bound("exclusiveMaximum")! - 1)
        const value = yield* Random.nextIntBetween(low, Math.max(low, high))
        return value
      }
      case "boolean":
        return yield* Random.nextBoolean
      case "null":
        return null
      case "array": {
        const least = bound("minItems") ?? 1
        const count = Math.min(least + 1, bound("maxItems") ?? least + 1)
        return yield* Effect.forEach(Array.from({ length: count }), () =>
          valueOf(whole["items"], name, defs, depth + 1)
        )
      }
      case "object":
        return yield* objectOf(whole, defs, depth + 1)
      default: {
        const text = yield* textOf(whole, name)
        const [least, most] = [bound("minLength") ?? 0, bound("maxLength") ?? Number.POSITIVE_INFINITY]
        return text.padEnd(least, "x").slice(0, most)
      }
    }
  })

const digits = (count: number) =>
  Effect.map(Random.nextIntBetween(0, 10 ** count - 1), (value) => String(value).padStart(count, "0"))

const textOf = Effect.fnUntraced(function* (schema: JsonObject, name: string) {
  const word = words[yield* Random.nextIntBetween(0, words.length - 1)] ?? "amber"
  const number = yield* digits(4)
  const format = typeof schema["format"] === "string" ? schema["format"] : ""
  const date = `20${yield* Random.nextIntBetween(10, 30)}-0${yield* Random.nextIntBetween(1, 9)}-1${yield* Random.nextIntBetween(0, 9)}`
  if (format === "date-time") return `${date}T12:00:00.000Z`
  if (format === "date") return date
  if (format === "email" || /e-?mail/i.test(name)) return `${word}.${number}@example.com`
  if (format === "uuid")
    return `${yield* digits(8)}-${yield* digits(4)}-4${yield* digits(3)}-8${yield* digits(3)}-${yield* digits(12)}`
  if (format === "uri" || /url/i.test(name)) return `https://example.com/${word}`
  if (/country/i.test(name)) return ["BR", "PT", "JP", "NG", "SE"][yield* Random.nextIntBetween(0, 4)] ?? "BR"
  if (/zip|code|phone/i.test(name)) return number
  return `${word} ${number}`
})

/** Every required field, and half of the others. */
const objectOf = (schema: JsonObject, defs: JsonObject, depth: number): Effect.Effect<JsonObject> =>
  Effect.gen(function* () {
    const made: Record<string, Json> = {}
    const required = Array.isArray(schema["required"]) ? (schema["required"] as ReadonlyArray<Json>) : []
    const properties = isObject(schema["properties"] ?? null) ? (schema["properties"] as JsonObject) : {}
    for (const [name, inner] of Object.entries(properties)) {
      if (!required.includes(name) && !(yield* Random.nextBoolean)) continue
      made[name] = yield* valueOf(inner, name, defs, depth)
    }
    return made
  })

/** Makes documents of the schema alone. */
const fromSchema = ({ definition }: requests.Opened) => {
  const { definitions, schema } = Wire.jsonSchema(Wire.create(definition))
  const defs = definitions as unknown as JsonObject
  const properties = isObject((schema as JsonObject)["properties"] ?? null)
    ? ((schema as JsonObject)["properties"] as JsonObject)
    : {}
  const isGenerated = !(((schema as JsonObject)["required"] ?? []) as ReadonlyArray<Json>).includes(
    definition.primaryKey
  )
  const { [definition.primaryKey]: _, ...others } = properties
  const whole = isGenerated ? { ...(schema as JsonObject), properties: others } : (schema as JsonObject)
  return (_index: number) => objectOf(whole, defs, 0)
}

/** The function of a module that makes the document of a number. */
const fromModule = Effect.fnUntraced(function* (file: string) {
  const path = yield* Path.Path
  const failed = (description: string) => new Unreadable({ description: `the factory ${file} ${description}` })
  const url = yield* Effect.mapError(path.toFileUrl(path.resolve(file)), (error) => failed(error.message))
  const module = yield* Effect.tryPromise({
    try: () => import(url.href) as Promise<{ readonly default?: unknown }>,
    catch: (error) => failed(`cannot be loaded: ${error instanceof Error ? error.message : String(error)}`)
  })
  const make = module.default
  if (typeof make !== "function")
    return yield* failed("has to export a function by default: (index) => ({ name: `user ${index}` })")
  return (index: number) =>
    Effect.flatMap(
      Effect.tryPromise({
        try: () => Promise.resolve((make as (index: number) => unknown)(index)),
        catch: (error) => failed(`fails: ${error instanceof Error ? error.message : String(error)}`)
      }),
      (made) =>
        typeof made === "object" && made !== null && isObject(made as Json)
          ? Effect.succeed(made as JsonObject)
          : Effect.fail(failed("has to give objects"))
    )
})

export const seed = (given: {
  readonly resource: string
  readonly count: number
  readonly factory: Option.Option<string>
  readonly seed: Option.Option<string>
}) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const opened = yield* resource(given.resource)
      const make: (index: number) => Effect.Effect<JsonObject, Unreadable> = Option.isSome(given.factory)
        ? yield* fromModule(given.factory.value)
        : fromSchema(opened)
      const documents = Effect.forEach(
        Array.from({ length: given.count }, (_, index) => index),
        make
      )
      const made = yield* Option.match(given.seed, {
        onNone: () => documents,
        onSome: (seed) => Random.withSeed(documents, seed)
      })
      const progress = yield* output.progress("seeded")
      let [written, failed] = [0, 0]
      yield* Stream.runForEach(
        opened.repository.writeAllJson(Stream.fromIterable(made)),
        Effect.fnUntraced(function* ({ index, result }) {
          if (Result.isSuccess(result)) written += 1
          else {
            failed += 1
            yield* output.warn(`document ${index + 1}: ${result.failure.message}`)
          }
          yield* progress.update(written + failed, given.count)
        })
      ).pipe(Effect.ensuring(progress.end))
      yield* output.value({ written, failed }, `wrote ${counted(written, "document")}`)
      if (failed > 0) {
        return yield* new Partial({
          description: `${failed} of ${given.count} documents do not fit: give a --factory that makes such`
        })
      }
    })
  )
