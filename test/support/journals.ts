/** What the processes of `journal-process.ts` were told, against what the database has. */
import * as NodeFs from "node:fs"
import Database from "better-sqlite3"

export interface Comparison {
  readonly acknowledged: number
  readonly written: number
  /** Acknowledged, and not there. */
  readonly lost: ReadonlyArray<string>
  /** There more than once. */
  readonly doubled: ReadonlyArray<string>
  /** There, though its process was told that it was not done. */
  readonly denied: ReadonlyArray<string>
  /** Failures that no process should meet, by class. */
  readonly failures: Readonly<Record<string, number>>
  readonly totalsAgree: boolean
  readonly integrity: unknown
}

const table = (db: Database.Database, name: string, column: string): ReadonlyArray<string> =>
  db.prepare("SELECT 1 FROM sqlite_master WHERE name = ?").get(name) === undefined
    ? []
    : (db.prepare(`SELECT ${column} FROM ${name}`).pluck().all() as ReadonlyArray<string>)

export const compareJournals = (path: string, journals: ReadonlyArray<string>): Comparison => {
  const db = new Database(path, { readonly: true })
  try {
    const entries = table(db, "ledger", "id")
    const times = new Map<string, number>()
    for (const ids of [
      entries,
      table(db, "db_hub_audit", "tool"),
      table(db, "db_hub_settings", "key"),
      table(db, "db_hub_messages", "content")
    ]) {
      for (const id of ids) times.set(id, (times.get(id) ?? 0) + 1)
    }
    const lost: Array<string> = []
    const denied: Array<string> = []
    const failures: Record<string, number> = {}
    let acknowledged = 0
    for (const journal of journals.filter((file) => NodeFs.existsSync(file))) {
      // What a killed process wrote last may be half a line.
      for (const line of NodeFs.readFileSync(journal, "utf8").split("\n").slice(0, -1)) {
        const [end = "", id = "", failure = ""] = line.split(" ")
        if (end === "done") {
          acknowledged++
          if (!times.has(id)) lost.push(id)
        } else {
          const what = `${failure} ${end}`
          failures[what] = (failures[what] ?? 0) + 1
          if (end === "no" && times.has(id)) denied.push(id)
        }
      }
    }
    return {
      acknowledged,
      written: times.size,
      lost,
      doubled: Array.from(times).flatMap(([id, n]) => (n === 1 ? [] : [id])),
      denied,
      failures,
      totalsAgree: table(db, "totals", "n").reduce((sum, n) => sum + Number(n), 0) === entries.length,
      integrity: db.pragma("integrity_check", { simple: true })
    }
  } finally {
    db.close()
  }
}
