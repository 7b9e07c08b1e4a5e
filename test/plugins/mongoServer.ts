/**
 * A server that speaks MongoDB's wire protocol, as far as a replica asks: a real driver talks to it over a socket. What it does follows MongoDB's manual; it is no MongoDB.
 *
 * Sources: MongoDB Manual, "MongoDB Wire Protocol", "update", "listCollections"; the specification of OP_MSG.
 */
import { createServer, type Server, type Socket } from "node:net"
import { BSON } from "mongodb"

export type Stored = Record<string, unknown> & { readonly _id: string }

type Query = Record<string, unknown>

const numberOf = (value: unknown): number | undefined =>
  value instanceof BSON.Long || value instanceof BSON.Double || value instanceof BSON.Int32
    ? Number(value.toString())
    : typeof value === "number"
      ? value
      : undefined

const isQuery = (value: unknown): value is Query =>
  typeof value === "object" && value !== null && Object.keys(value).some((key) => key.startsWith("$"))

/** Comparisons are between values of one type: what is missing meets none. */
const meets = (value: unknown, condition: unknown): boolean => {
  if (!isQuery(condition)) return value === condition
  return Object.entries(condition).every(([operator, operand]) => {
    const [a, b] = [numberOf(value), numberOf(operand)]
    switch (operator) {
      case "$not":
        return !meets(value, operand)
      case "$exists":
        return (value !== undefined) === operand
      case "$in":
        return (operand as ReadonlyArray<unknown>).includes(value)
      case "$gt":
        return a !== undefined && b !== undefined && a > b
      case "$gte":
        return a !== undefined && b !== undefined && a >= b
      case "$lt":
        return a !== undefined && b !== undefined && a < b
      default:
        throw new Error(`this server does not know ${operator}`)
    }
  })
}

const matches = (document: Query, filter: Query): boolean =>
  Object.entries(filter).every(([name, condition]) => meets(document[name], condition))

interface Update {
  readonly q: Query
  readonly u: Query | ReadonlyArray<Query>
  readonly upsert?: boolean
  readonly multi?: boolean
}

const most = 16 * 1024 * 1024

export interface MongoServer {
  readonly url: string
  readonly port: number
  readonly collections: Map<string, Map<string, Stored>>
  /** Options of collections that somebody else has made. */
  readonly made: Map<string, Record<string, unknown>>
  /** The commands that were asked, by name. */
  readonly commands: Array<string>
  /** Is asked before a write that would make a document; what it does is done by somebody else in between. */
  between: ((id: string) => void) | undefined
  /** Says what a command is answered in the place of what it does. */
  says: ((command: string) => Record<string, unknown> | undefined) | undefined
  readonly start: () => Promise<void>
  /** Breaks all connections, in the midst of whatever was asked. */
  readonly kill: () => Promise<void>
  readonly close: () => Promise<void>
}

export const make = async (): Promise<MongoServer> => {
  const sockets = new Set<Socket>()
  let server: Server | undefined
  let port = 0

  const hello = () => ({
    isWritablePrimary: true,
    ismaster: true,
    helloOk: true,
    maxBsonObjectSize: most,
    maxMessageSizeBytes: 48_000_000,
    maxWriteBatchSize: 100_000,
    localTime: new Date(),
    connectionId: 1,
    minWireVersion: 0,
    maxWireVersion: 21,
    readOnly: false,
    ok: 1
  })

  const update = (collection: string, updates: ReadonlyArray<Update>) => {
    const documents = self.collections.get(collection) ?? new Map<string, Stored>()
    self.collections.set(collection, documents)
    const writeErrors: Array<Record<string, unknown>> = []
    const upserted: Array<Record<string, unknown>> = []
    let n = 0
    let nModified = 0
    for (const [index, { multi = false, q, u, upsert = false }] of updates.entries()) {
      const key = q["_id"]
      const candidates =
        typeof key === "string" ? [documents.get(key)].flatMap((one) => one ?? []) : [...documents.values()]
      const found = candidates.filter((one) => matches(one, q)).slice(0, multi ? undefined : 1)
      for (const one of found) {
        if (Array.isArray(u)) {
          const [{ $replaceWith }] = u as [{ readonly $replaceWith: Query }]
          documents.set(one._id, { ...$replaceWith, _id: one._id })
        } else documents.set(one._id, { ...u, _id: one._id })
        n += 1
        nModified += 1
      }
      if (found.length > 0 || !upsert) continue
      const id = String(key)
      self.between?.(id)
      if (documents.has(id)) {
        const errmsg = `E11000 duplicate key error collection: test.${collection} index: _id_ dup key: { _id: "${id}" }`
        writeErrors.push({ index, code: 11000, keyPattern: { _id: 1 }, errmsg })
        continue
      }
      documents.set(id, { ...(u as Query), _id: id })
      upserted.push({ index, _id: id })
      n += 1
    }
    return {
      n,
      nModified,
      ...(upserted.length === 0 ? {} : { upserted }),
      ...(writeErrors.length === 0 ? {} : { writeErrors }),
      ok: 1
    }
  }

  const answer = (command: Query): Record<string, unknown> => {
    const [name = ""] = Object.keys(command)
    if (!/^(hello|ismaster|isMaster)$/.test(name)) self.commands.push(name)
    const said = self.says?.(name)
    if (said !== undefined) return said
    switch (name) {
      case "hello":
      case "ismaster":
      case "isMaster":
        return hello()
      case "ping":
      case "endSessions":
        return { ok: 1 }
      case "listCollections": {
        const all = [...self.collections.keys()].map((name) => {
          const { type = "collection", ...options } = self.made.get(name) ?? {}
          return { name, type, options }
        })
        const firstBatch = all.filter((one) => matches(one, command["filter"] as Query))
        return { cursor: { id: BSON.Long.ZERO, ns: "test.$cmd.listCollections", firstBatch }, ok: 1 }
      }
      case "create": {
        const collection = String(command["create"])
        if (self.collections.has(collection)) {
          return {
            ok: 0,
            code: 48,
            codeName: "NamespaceExists",
            errmsg: `Collection test.${collection} already exists`
          }
        }
        self.collections.set(collection, new Map())
        return { ok: 1 }
      }
      case "update":
        return update(String(command["update"]), command["updates"] as ReadonlyArray<Update>)
      default:
        return { ok: 0, code: 59, codeName: "CommandNotFound", errmsg: `no such command: '${name}'` }
    }
  }

  const read = (bytes: Uint8Array) => BSON.deserialize(bytes, { promoteValues: false, promoteBuffers: false })

  /** Booleans and texts of commands, as JavaScript has them; numbers stay. */
  const commandOf = (body: Buffer): Query => {
    const command: Query = {}
    // The flags come first.
    let at = 4
    while (at < body.length) {
      const section = body[at]
      at += 1
      const size = body.readInt32LE(at)
      if (section === 0) {
        Object.assign(command, read(body.subarray(at, at + size)))
      } else {
        const end = body.indexOf(0, at + 4)
        const documents: Array<unknown> = []
        let next = end + 1
        while (next < at + size) {
          const length = body.readInt32LE(next)
          documents.push(read(body.subarray(next, next + length)))
          next += length
        }
        command[body.toString("utf8", at + 4, end)] = documents
      }
      at += size
    }
    return command
  }

  const messageOf = (id: number, to: number, opcode: number, ...parts: ReadonlyArray<Uint8Array>) => {
    const header = Buffer.alloc(16)
    const body = Buffer.concat(parts)
    header.writeInt32LE(16 + body.length, 0)
    header.writeInt32LE(id, 4)
    header.writeInt32LE(to, 8)
    header.writeInt32LE(opcode, 12)
    return Buffer.concat([header, body])
  }

  let replies = 0
  const serve = (socket: Socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
    socket.on("error", () => {})
    let left: Buffer = Buffer.alloc(0)
    socket.on("data", (some) => {
      left = Buffer.concat([left, some])
      while (left.length >= 16 && left.length >= left.readInt32LE(0)) {
        const size = left.readInt32LE(0)
        const message = left.subarray(16, size)
        const [to, opcode] = [left.readInt32LE(4), left.readInt32LE(12)]
        left = left.subarray(size)
        if (opcode === 2004) {
          // The first hello of a driver is of the old form.
          const reply = Buffer.alloc(20)
          reply.writeInt32LE(8, 0)
          reply.writeInt32LE(1, 16)
          socket.write(messageOf(++replies, to, 1, reply, BSON.serialize(hello())))
        } else if (opcode === 2013) {
          const flags = Buffer.alloc(5)
          socket.write(messageOf(++replies, to, 2013, flags, BSON.serialize(answer(commandOf(message)))))
        } else {
          socket.destroy()
        }
      }
    })
  }

  const listen = (on: number) =>
    new Promise<void>((resolve, reject) => {
      server = createServer(serve)
      server.once("error", reject)
      server.listen(on, "127.0.0.1", () => {
        const address = server?.address()
        port = typeof address === "object" && address !== null ? address.port : 0
        resolve()
      })
    })

  const kill = () =>
    new Promise<void>((resolve) => {
      for (const socket of sockets) socket.destroy()
      if (server === undefined) return resolve()
      server.close(() => resolve())
      server = undefined
    })

  await listen(0)
  const self: MongoServer = {
    url: `mongodb://127.0.0.1:${port}/test`,
    port,
    collections: new Map(),
    made: new Map(),
    commands: [],
    between: undefined,
    says: undefined,
    start: () => listen(port),
    kill,
    close: kill
  }
  return self
}
