import { orders } from "./orders.ts"
import { scenarios } from "./serial.ts"

const all = Object.keys(scenarios)

orders({
  orders: all,
  unconditional: all,
  crashes: all,
  pauses: ["a transfer and a sum", "a transfer and an update", "a transfer and a deletion"],
  preemptions: 2,
  preemptionsOfCrashes: 1
})
