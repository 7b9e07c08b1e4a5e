import { describe, it } from "@effect/vitest"
import { check, newFolder } from "./processes.ts"

describe("histories of several processes", () => {
  // What a killed process leaves is waited for in real time: see the deep test.
  const url = `file://${newFolder()}`
  it.live("in a folder, three processes", () => check(url, { operations: 50, clients: 3, lives: 1 }))
})
