import { randomTransactions } from "./randomTransactions.ts"

randomTransactions(200, 10)
