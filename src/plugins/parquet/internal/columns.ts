/** The columns of Parquet files, for their writer and their reader. */

/** What a column holds. */
export type Type =
  | { readonly _tag: "Text" | "Json" | "Double" | "Integer" | "Boolean" | "Timestamp" | "Date" | "Bytes" }
  | { readonly _tag: "Decimal"; readonly scale: number }
  | { readonly _tag: "List"; readonly item: Type }
  | { readonly _tag: "Struct"; readonly fields: ReadonlyArray<Column> }

/** A column, called as its field. */
export interface Column {
  readonly name: string
  readonly type: Type
}
