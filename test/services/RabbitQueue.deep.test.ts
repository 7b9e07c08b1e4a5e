import { rabbitQueues } from "./rabbitQueues.ts"

rabbitQueues({ many: 2500 })
