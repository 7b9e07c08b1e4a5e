/** A proxy that adds the token of a server, for clients that send none. Host and Origin stay as they are. */
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import * as Effect from "effect/Effect"

/** Listens on a port of its own until the scope closes. */
export const forwarding = (target: () => number, token: string) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
      const server = http.createServer((request, response) => {
        const onward = http.request(
          {
            host: "127.0.0.1",
            port: target(),
            method: request.method,
            path: request.url,
            headers: { ...request.headers, authorization: `Bearer ${token}` },
            setHost: false
          },
          (answer) => {
            response.writeHead(answer.statusCode ?? 500, answer.headers)
            answer.pipe(response)
          }
        )
        onward.on("error", () => response.destroy())
        response.on("close", () => onward.destroy())
        request.pipe(onward)
      })
      server.listen(0, "127.0.0.1", () =>
        resume(
          Effect.succeed({
            port: (server.address() as AddressInfo).port,
            close: () => {
              server.close()
              server.closeAllConnections()
            }
          })
        )
      )
    }),
    ({ close }) => Effect.sync(close)
  )
