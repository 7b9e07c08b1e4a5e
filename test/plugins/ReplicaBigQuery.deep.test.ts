import { describe } from "@effect/vitest"
import { kind } from "./bigQueryReplicas.ts"
import { suite } from "./replicaTables.ts"

describe("ReplicaBigQuery, deep", () => suite(kind))
