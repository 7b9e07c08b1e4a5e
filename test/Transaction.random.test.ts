import { randomTransactions } from "./randomTransactions.ts"

randomTransactions(8, 6)
