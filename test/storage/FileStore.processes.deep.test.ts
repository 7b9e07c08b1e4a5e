import { describe } from "@effect/vitest"
import { count, create, kill } from "./fileProcesses.ts"

describe("FileStore between processes", () => {
  count(4, 100)
  create(4, 200)
  kill("none", 200)
  kill("fsync", 120)
})
