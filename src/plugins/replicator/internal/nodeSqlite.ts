/** Files of SQLite, by what Node has: loaded when a replica is one. */
import type { StatementSync } from "node:sqlite"
import type { Row, Statement } from "./sql.ts"

export interface Opened {
  readonly run: (statement: Statement) => ReadonlyArray<Row>
  /** All of them, or none. */
  readonly transaction: (statements: ReadonlyArray<Statement>) => ReadonlyArray<ReadonlyArray<Row>>
  readonly close: () => void
}

const mostPrepared = 200

/** Loads SQLite, which a Node before 22.13 does not have. */
export const load = (): Promise<{ readonly open: (filename: string) => Opened }> =>
  import("node:sqlite").then(({ DatabaseSync }) => ({ open: (filename) => opened(DatabaseSync, filename) }))

/** Opens a file, or makes it. Throws what SQLite says, as all members do. */
const opened = (DatabaseSync: typeof import("node:sqlite").DatabaseSync, filename: string): Opened => {
  const database = new DatabaseSync(filename, { timeout: 5000 })
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
  const prepared = new Map<string, StatementSync>()
  const run = ({ sql, values }: Statement): ReadonlyArray<Row> => {
    let statement = prepared.get(sql)
    if (statement === undefined) {
      statement = database.prepare(sql)
      if (prepared.size > mostPrepared) prepared.clear()
      prepared.set(sql, statement)
    }
    if (/^SELECT/i.test(sql)) return statement.all(...values)
    statement.run(...values)
    return []
  }
  return {
    run,
    transaction: (statements) => {
      database.exec("BEGIN IMMEDIATE")
      try {
        const rows = statements.map(run)
        database.exec("COMMIT")
        return rows
      } catch (error) {
        if (database.isTransaction) database.exec("ROLLBACK")
        throw error
      }
    },
    close: () => database.close()
  }
}
