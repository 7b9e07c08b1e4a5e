import { rabbitQueues } from "./rabbitQueues.ts"

rabbitQueues({ many: 60 })
