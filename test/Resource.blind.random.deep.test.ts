import { blindHistories } from "./blindHistories.ts"

blindHistories(100, 40, 50)
