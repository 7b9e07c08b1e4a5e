import { blindHistories } from "./blindHistories.ts"

blindHistories(1, 6, 40)
