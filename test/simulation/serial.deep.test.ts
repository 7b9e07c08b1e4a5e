import { orders } from "./orders.ts"
import { scenarios } from "./serial.ts"

const all = Object.keys(scenarios)

orders({
  orders: all,
  unconditional: all,
  remote: all.filter((name) => /delet|swap|list|content|history/.test(name) && !name.includes("of a document")),
  interruptions: all.filter((name) => !/repair|sweep|of a document/.test(name)),
  crashes: all.filter((name) => !name.includes("a repair")),
  pauses: ["a transfer and a sum", "a transfer and an update", "a transfer and a deletion"],
  preemptions: 2,
  preemptionsOfCrashes: 1
})
