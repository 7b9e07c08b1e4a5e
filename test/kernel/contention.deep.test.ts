import { processes } from "./contention.ts"

processes(60)
