/** The stream of a session, whoever reads it or not. */
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import * as net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as sessions from "../../src/mcp/internal/sessions.ts"

/** A session that somebody listens to over a socket, which is read when `read` is called and not before. */
const listening = (options: sessions.Options) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const known = sessions.make(options)
      known.open("1")
      const server = http.createServer({ highWaterMark: 1024 })
      const asked = new Promise<http.ServerResponse>((resolve) =>
        server.once("request", (_, response) => {
          known.listen("1", response)
          resolve(response)
        })
      )
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      const socket = net.connect((server.address() as AddressInfo).port, "127.0.0.1")
      socket.on("error", () => {})
      socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
      return { known, server, socket, response: await asked }
    }),
    ({ server, socket }) =>
      Effect.promise(
        () =>
          new Promise<void>((resolve) => {
            socket.destroy()
            server.closeAllConnections()
            server.close(() => resolve())
          })
      )
  )

const uris = Array.from({ length: 500 }, (_, at) => `s3db://resource/r${at}`)

describe("the stream of a session", () => {
  it.live("keeps a name for each page that nobody has read of, and tells all of them in the end", () =>
    Effect.gen(function* () {
      const { known, response, socket } = yield* listening({})
      for (const uri of uris) assert.isTrue(known.subscribe("1", uri))
      let most = 0
      // 20 MB of messages, more than any socket takes by itself.
      for (let round = 0; round < 400; round++) {
        for (const uri of uris) known.tell(uri)
        most = Math.max(most, response.writableLength)
      }
      assert.isBelow(most, 1_000_000)
      known.tell("s3db://resource/other")
      let text = ""
      const told = yield* Effect.promise(
        () =>
          new Promise<ReadonlyMap<string, number>>((resolve) => {
            const seen = new Map<string, number>()
            socket.on("data", (chunk: Buffer) => {
              text += chunk.toString("utf8")
              const parts = text.split("\n\n")
              text = parts.pop() ?? ""
              for (const part of parts) {
                const [, uri] = /"uri":"([^"]+)"/.exec(part) ?? []
                if (uri !== undefined) seen.set(uri, (seen.get(uri) ?? 0) + 1)
              }
              if (seen.size === uris.length) resolve(seen)
            })
          })
      )
      assert.sameMembers([...told.keys()], uris)
      assert.isFalse(told.has("s3db://resource/other"))
      // Who reads again is told again.
      const after = new Promise<void>((resolve) =>
        socket.on("data", (chunk: Buffer) => {
          if (chunk.includes("s3db://resource/again")) resolve()
        })
      )
      known.unsubscribe("1", uris[0]!)
      known.subscribe("1", "s3db://resource/again")
      known.tell("s3db://resource/again")
      yield* Effect.promise(() => after)
    })
  )

  it.live("ends for who reads nothing, and the session has room for another", () =>
    Effect.gen(function* () {
      const { known, response } = yield* listening({ keepAliveMillis: 20 })
      known.subscribe("1", uris[0]!)
      const closed = new Promise<void>((resolve) => response.once("close", resolve))
      // What one message takes is written again and again, until the socket takes no more.
      while (!response.writableNeedDrain) {
        known.tell(uris[0]!)
        yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
      }
      yield* Effect.promise(() => closed)
      assert.isTrue(known.has("1"))
      const free = {
        writeHead: () => free,
        write: () => true,
        end: () => free,
        destroy: () => free,
        on: () => free,
        once: () => free,
        writableNeedDrain: false
      }
      assert.isTrue(known.listen("1", free as unknown as sessions.Stream))
    })
  )

  it.live("ends with its session, also when that gives way to others", () =>
    Effect.gen(function* () {
      const { known, response } = yield* listening({})
      const closed = new Promise<void>((resolve) => response.once("close", resolve))
      for (let i = 0; i < 1000; i++) known.open(`other ${i}`)
      assert.isFalse(known.has("1"))
      yield* Effect.promise(() => closed)
    })
  )
})
