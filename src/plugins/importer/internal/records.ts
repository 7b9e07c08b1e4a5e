/** What stands in a file, record by record, before anything is made of it. */
import type { Json, JsonObject } from "../../../encoding/Json.ts"

/** Why a record is none that can be imported. */
export interface Fault {
  readonly reason: string
  readonly description: string
  readonly column?: string | undefined
}

/** A record, or why there is none at its place. */
export interface Found {
  /** From 1. The header is none, nor is a blank line. */
  readonly row: number
  /** Of the file, from 1, where it has lines. */
  readonly line?: number | undefined
  readonly record: JsonObject | undefined
  readonly fault?: Fault | undefined
  /** As it stands there, for whoever corrects it. */
  readonly original: Json
}

/** Counts what has been found, so that an error can tell its row. */
export interface Counter {
  rows: number
}

/** What is kept of a text that is no record. */
const mostOriginal = 65_536

export const originalText = (text: string): string => (text.length > mostOriginal ? text.slice(0, mostOriginal) : text)

/** Whether no field can have this name, or path: assigned to an object it would be lost. */
export const isForbidden = (path: string): boolean => path.split(".").includes("__proto__")
