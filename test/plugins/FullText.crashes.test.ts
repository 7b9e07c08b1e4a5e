import { quick, suite } from "./indexers.ts"
import { subject } from "./searches.ts"

suite(subject, quick)
