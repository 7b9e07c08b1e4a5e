/** The command that serves a database to assistants. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { flag, lazily } from "../globals.ts"
import { least, text, texts } from "./arguments.ts"

export const mcp = Command.make(
  "mcp",
  {
    transport: Flag.Literals("transport", ["stdio", "http"]).pipe(
      Flag.withDescription("How it is spoken to: over standard input and output (default), or over HTTP"),
      Flag.withDefault("stdio")
    ),
    write: flag("allow-write", "Allows creating and changing documents; without it nothing can be written"),
    destructive: flag("allow-destructive", "Allows deleting as well; it goes with --allow-write"),
    resource: text("resource", "NAMES", "Only these resources, with commas between them; all others are not there"),
    maxRows: least("max-rows", 1, "The most documents of one answer, up to 1,000 (default: 100)").pipe(
      Flag.withDefault(100)
    ),
    maxBytes: least("max-bytes", 4096, "The most bytes of one answer (default: 65536)").pipe(Flag.withDefault(65_536)),
    timeout: least("timeout", 1, "The most seconds of one call (default: 60)").pipe(Flag.withDefault(60)),
    host: Flag.String("host").pipe(
      Flag.withDescription("With --transport http: the address it listens on (default: 127.0.0.1, this machine alone)"),
      Flag.optional
    ),
    port: least("port", 0, "With --transport http: the port, 0 for one that is free (default: 17500)").pipe(
      Flag.optional
    ),
    allowHost: texts(
      "allow-host",
      "NAME",
      "With --transport http: a name by which it may be asked for, beside those of this machine"
    ),
    allowOrigin: texts("allow-origin", "ORIGIN", "With --transport http: an origin of web pages that may ask")
  },
  lazily(
    () => import("../work/mcp.ts"),
    ({ serve }) => serve
  )
).pipe(
  Command.withDescription(
    "Serves the database to assistants over the Model Context Protocol; it reads, unless told otherwise"
  ),
  Command.withExamples([
    { command: "s3db mcp --url s3://bucket/prefix" },
    { command: "s3db mcp --profile shop --resource products,orders --allow-write" },
    { command: "S3DB_MCP_TOKEN=... s3db mcp --transport http --port 17500" }
  ])
)
