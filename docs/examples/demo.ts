/**
 * The main job on real data: the 250 countries of the world in a database.
 *
 * npm run demo -- [--store file|memory|s3] [--path FOLDER] [--url CONNECTION] [--fresh] [--json]
 */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { isDeepStrictEqual, parseArgs } from "node:util"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"
import { RequestCounter } from "effect-s3db/storage/InstrumentedStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"

const Name = Schema.Struct({ common: Schema.String, official: Schema.String })

class Country extends Schema.Class<Country>("demo/Country")({
  cca3: Schema.String,
  cca2: Schema.String,
  ccn3: Schema.String,
  cioc: Schema.String,
  name: Schema.Struct({ ...Name.fields, native: Schema.Record(Schema.String, Name) }),
  tld: Schema.Array(Schema.String),
  independent: Schema.NullOr(Schema.Boolean),
  status: Schema.String,
  unMember: Schema.Boolean,
  unRegionalGroup: Schema.String,
  currencies: Schema.Json,
  idd: Schema.Struct({ root: Schema.String, suffixes: Schema.Array(Schema.String) }),
  capital: Schema.Array(Schema.String),
  altSpellings: Schema.Array(Schema.String),
  region: Schema.String,
  subregion: Schema.String,
  languages: Schema.Record(Schema.String, Schema.String),
  translations: Schema.Record(Schema.String, Name),
  latlng: Schema.Array(Schema.Finite),
  landlocked: Schema.Boolean,
  borders: Schema.Array(Schema.String),
  area: Schema.Finite,
  flag: Schema.String,
  demonyms: Schema.Json,
  visitors: Schema.Int.pipe(Schema.withConstructorDefault(Effect.succeed(0)))
}) {}

class Countries extends Resource.Service<Countries>()("demo/countries", {
  schema: Country,
  primaryKey: "cca3",
  allowDeleteAll: true
}) {}

const folder = "./.demo"

const options = {
  store: { type: "string", default: "file" },
  path: { type: "string", default: folder },
  url: { type: "string" },
  fresh: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false }
} as const

const usage = `usage: npm run demo -- [--store file|memory|s3] [--path FOLDER] [--url CONNECTION] [--fresh] [--json]

  --store   file (the default, in ${folder}), memory, or s3 (with --url)
  --path    the folder of the file store
  --url     a connection string, such as s3://bucket/prefix or http://KEY:SECRET@localhost:9000/bucket
  --fresh   delete what an earlier run has stored, then begin
  --json    print the report as JSON`

/** Something that the person who runs it has to mend. */
class Mistake extends Schema.TaggedError<Mistake>()("Mistake", { text: Schema.String }) {
  override get message(): string {
    return this.text
  }
}

const readArguments = Effect.gen(function* () {
  const { values } = yield* Effect.try({
    try: () => parseArgs({ options, strict: true }),
    catch: (error) => new Mistake({ text: `${error instanceof Error ? error.message : String(error)}\n\n${usage}` })
  })
  if (values.help) return { help: true as const }
  if (!["file", "memory", "s3"].includes(values.store)) {
    return yield* new Mistake({ text: `--store is file, memory or s3, not ${values.store}\n\n${usage}` })
  }
  if (values.store === "s3" && values.url === undefined) {
    return yield* new Mistake({ text: "--store s3 needs --url, for example --url s3://bucket/prefix" })
  }
  const path = /^(\/|\.)/.test(values.path) ? values.path : `./${values.path}`
  const url =
    values.url ??
    (values.store === "memory" ? "memory://demo" : `file://${path.split("/").map(encodeURIComponent).join("/")}`)
  return { help: false as const, url, fresh: values.fresh, json: values.json, store: values.store }
})

const Source = Schema.fromJsonString(
  Schema.Array(Schema.Struct(Country.fields).mapFields(({ visitors: _, ...rest }) => rest))
)

const readCountries = Effect.sync(() =>
  readFileSync(createRequire(import.meta.url).resolve("world-countries/countries.json"), "utf8")
).pipe(Effect.flatMap(Schema.decodeUnknownEffect(Source)), Effect.orDie)

const bytesOf = (value: unknown): number => new TextEncoder().encode(JSON.stringify(value)).length

const demo = Effect.fnUntraced(function* (json: boolean, fresh: boolean, url: string) {
  const say = (line: string) => (json ? Effect.void : Console.log(line))
  const countries = yield* Countries
  const counter = yield* RequestCounter
  const store = yield* ObjectStore
  const started = performance.now()
  const source = yield* readCountries

  if (fresh) yield* say(`deleted ${yield* countries.deleteAll} documents of an earlier run`)
  const before = yield* countries.count()
  const complete = before >= source.length
  if (complete) yield* say(`The data is there already: ${before} documents in ${store.location} (--fresh begins anew).`)
  else yield* say(`${before > 0 ? "Going on with" : "Loading"} ${source.length} countries into ${store.location}`)
  let loaded = 0
  const wanted = complete ? [] : source
  for (let start = 0; start < wanted.length; start += 50) {
    for (const outcome of yield* countries.insertMany(wanted.slice(start, start + 50))) {
      // A run that was broken off has stored some already.
      if (Result.isFailure(outcome) && outcome.failure._tag !== "AlreadyExists") return yield* outcome.failure
      loaded += 1
    }
    yield* say(`  ${String(loaded).padStart(3)} of ${source.length}`)
  }

  const [japan, brazil, nowhere] = yield* countries.getMany(["JPN", "BRA", "XXX"])
  yield* say(
    `\nRead by id: ${[japan, brazil].map((found) => (found?._tag === "Some" ? `${found.value.flag} ${found.value.name.common}` : "?")).join(", ")}; XXX: ${nowhere?._tag === "None" ? "not there" : "?"}`
  )

  const visitorsBefore = (yield* countries.get("ISL")).visitors
  yield* Effect.forEach(
    Array.from({ length: 8 }, (_, i) => i),
    () =>
      Effect.repeat(
        countries.update("ISL", (iceland) => ({ visitors: iceland.visitors + 1 })),
        { times: 4 }
      ),
    { concurrency: "unbounded", discard: true }
  )
  const visitors = (yield* countries.get("ISL")).visitors - visitorsBefore
  yield* say(`8 fibers made 5 updates each to one document: ${visitors} of 40 arrived`)
  if (visitors !== 40) return yield* Effect.die(new Error("an update was lost"))

  const landlocked = yield* countries.scan({ concurrency: 32 }).pipe(
    Stream.filter((country) => country.landlocked && country.region === "Africa"),
    Stream.map((country) => country.name.common),
    Stream.runCollect
  )
  yield* say(`Landlocked in Africa: ${landlocked.slice(0, 5).join(", ")} and ${landlocked.length - 5} more`)

  const documents = yield* Stream.runCollect(countries.scanDocuments({ concurrency: 32 }))
  const byCode = new Map(source.map((country) => [country.cca3, country]))
  const same = documents.filter(({ value }) => {
    const { visitors: _, ...fields } = value
    return isDeepStrictEqual({ ...fields }, { ...byCode.get(value.cca3) })
  }).length
  const report = {
    store: store.location,
    loaded,
    documents: documents.length,
    identicalToSource: same,
    jsonBytes: documents.reduce((sum, { value }) => sum + bytesOf(value), 0),
    storedBytes: documents.reduce((sum, document) => sum + document.metadataBytes + document.bodyBytes, 0),
    inMetadataAlone: documents.filter((document) => document.storedIn === "metadata").length,
    requests: yield* counter.counts,
    seconds: Number(((performance.now() - started) / 1000).toFixed(2))
  }
  if (json) return yield* Console.log(JSON.stringify(report))
  const requests = Object.entries(report.requests).filter(([, count]) => count > 0)
  yield* Console.log(`
Report
  documents                   ${report.documents} (${same} identical to their source)
  bytes as JSON               ${report.jsonBytes}
  bytes as stored             ${report.storedBytes} (${Math.round((100 * report.storedBytes) / report.jsonBytes)} %)
  live in metadata alone      ${report.inMetadataAlone}
  requests                    ${requests.map(([operation, count]) => `${count} ${operation.toUpperCase()}`).join(", ")}
  time                        ${report.seconds} s`)
  if (!url.startsWith("s3:") && !url.startsWith("http")) {
    yield* Console.log(`
The same on S3:  npm run demo -- --store s3 --url s3://bucket/prefix`)
  }
})

const program = Effect.gen(function* () {
  const chosen = yield* readArguments
  if (chosen.help) return yield* Console.log(usage)
  const layer = Countries.layer.pipe(
    Layer.provideMerge(Database.layer),
    Layer.provideMerge(ConnectionString.layer(chosen.url))
  )
  yield* Effect.provide(demo(chosen.json, chosen.fresh, chosen.url), layer)
})

Effect.runPromise(
  program.pipe(
    Effect.as(0),
    // One message says what is wrong; only a bug shows a stack.
    Effect.catch((error) => Effect.as(Console.error(error.message), 1))
  )
).then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    console.error(error)
    process.exitCode = 2
  }
)
