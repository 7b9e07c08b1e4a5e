import { all, suite } from "./indexers.ts"
import { subject } from "./searches.ts"

suite(subject, all)
