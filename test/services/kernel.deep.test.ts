/** The primitives of the kernel on Ceph's gateway. */
import { suite } from "../kernel/contention.ts"
import { suite as journal } from "../kernel/journalStores.ts"
import { describeWithGateway } from "./available.ts"
import { storeOnGateway } from "./gatewayStore.ts"

describeWithGateway("the kernel on Ceph's gateway", () => {
  const open = storeOnGateway("kernel")
  suite("Ceph's gateway", open)
  // The gateway ignores conditions on DELETE: tombstones stay.
  journal("Ceph's gateway", open, false, 15)
})
