import { quick, suite } from "./indexers.ts"
import { withLists } from "./nearby.ts"

suite(withLists, quick)
