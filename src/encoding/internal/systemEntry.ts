/** The entry of metadata that says how a document was written. It may stand among the entries of its fields; ids of attributes have no `-`. */

export const name = "s-"

/** Documents that are written after each other tend to be of one version. */
let last = { tag: "", schemaVersion: 0, value: "0" }

/** What it says of a version. */
export const valueOf = (tag: string, schemaVersion: number): string => {
  if (last.tag !== tag || last.schemaVersion !== schemaVersion) {
    last = { tag, schemaVersion, value: `${tag}${schemaVersion.toString(36)}` }
  }
  return last.value
}
