/** The entry of metadata that says how a document was written. It may stand among the entries of its fields; ids of attributes have no `-`. */

export const name = "s-"

/** What it says of a version. */
export const valueOf = (tag: string, schemaVersion: number): string => `${tag}${schemaVersion.toString(36)}`
