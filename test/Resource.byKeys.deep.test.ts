import { it } from "@effect/vitest"
import { agreement, crashes } from "./byKeys.ts"

it.effect("2,500 documents by keys alone: what documents say, in the same order, 1 LIST for each 1,000", () =>
  agreement(2500)
)

crashes("an update of what is covered", "a move", "replace", "delete")
