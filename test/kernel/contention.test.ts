/** The primitives of the kernel on memory, and between a few processes. */
import { memory } from "../fixture.ts"
import { processes, suite } from "./contention.ts"

suite("memory", memory)
processes(3)
