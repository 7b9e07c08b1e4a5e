/** The primitives of the kernel on memory. Several processes are in the deep test. */
import { memory } from "../fixture.ts"
import { suite } from "./contention.ts"

suite("memory", memory)
