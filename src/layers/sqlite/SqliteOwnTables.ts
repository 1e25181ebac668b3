/**
 * Guards the hub's own tables from statements of agents: by the program that SQLite makes of a statement, which tells
 * every table that it, its triggers and its foreign keys write, and by what has become of the schema. It stands alone, so
 * that a child process can load it fast.
 *
 * @since 0.1.0
 */
import type { Database } from "better-sqlite3"
import { ownTables } from "../../services/AgentRows.js"

interface Entry {
  readonly type: string
  readonly name: string
  readonly table: string
  readonly root: number
  readonly sql: string | null
}

interface Operation {
  readonly opcode: string
  readonly p1: number
  readonly p2: number
  readonly p3: number
  readonly p4: unknown
  readonly p5: number
}

/** The second operand is a register, which holds a b-tree that the program itself has made. */
const inRegister = 0x10

const isOwn = String.raw`LIKE 'db\_hub\_%' ESCAPE '\'`

const entriesOf = (schema: string) =>
  `SELECT type, name, tbl_name AS "table", rootpage AS root, sql FROM ${schema} WHERE name ${isOwn} OR tbl_name ${isOwn}`

const entries = `${entriesOf("main.sqlite_schema")} UNION ALL ${entriesOf("temp.sqlite_schema")} ORDER BY 2, 1`

/** How far the ids of the hub's rows have been counted. */
const sequences = `SELECT name, seq FROM main.sqlite_sequence WHERE name ${isOwn} ORDER BY rowid`

/** Where the schema is kept. */
const schemaRoot = 1

const refuse = (name: string): never => {
  throw Object.assign(new Error(name), { code: ownTables })
}

const programOf = (db: Database, sql: string, params: ReadonlyArray<unknown>): ReadonlyArray<Operation> =>
  db.prepare<Array<unknown>, Operation>(`EXPLAIN ${sql}`).all(...params)

/** The addresses of virtual tables that a program writes. */
const virtualTables = (program: ReadonlyArray<Operation>): ReadonlyArray<unknown> =>
  program.filter(({ opcode }) => opcode === "VUpdate").map(({ p4 }) => p4)

/** The b-trees of the main database that a program writes or clears. */
const roots = (program: ReadonlyArray<Operation>): ReadonlySet<number> =>
  new Set(
    program.flatMap(({ opcode, p1, p2, p3, p5 }) =>
      opcode === "OpenWrite" && p3 === 0 && (p5 & inRegister) === 0 ? [p2] : opcode === "Clear" && p2 === 0 ? [p1] : []
    )
  )

/** What there is, as far as it is the hub's own, and where the ids of rows are counted. */
interface Schema {
  readonly version: unknown
  readonly tables: ReadonlyArray<Entry>
  readonly definitions: ReadonlySet<string>
  readonly sequenceRoot: number | undefined
}

const schemas = new WeakMap<Database, Schema>()

const schemaOf = (db: Database): Schema => {
  const version = db.pragma("schema_version", { simple: true })
  const known = schemas.get(db)
  if (known !== undefined && known.version === version) return known
  const all = db.prepare<[], Entry>(entries).all()
  const schema = {
    version,
    // REINDEX writes indexes alone; a statement that changes rows writes their table, too.
    tables: all.filter(({ type }) => type === "table"),
    // VACUUM and DROP TABLE move b-trees of others.
    definitions: new Set(all.map(({ name, sql, table, type }) => [table, type, name, sql].join("\0"))),
    sequenceRoot: db
      .prepare<[], number>("SELECT rootpage FROM main.sqlite_schema WHERE name = 'sqlite_sequence'")
      .pluck()
      .get()
  }
  schemas.set(db, schema)
  return schema
}

/**
 * Forgets what is known of a handle on which pragmas of agents may have set the version of the schema.
 *
 * @since 0.1.0
 * @category checks
 */
export const forget = (db: Database): void => void schemas.delete(db)

const countsOf = (db: Database): ReadonlySet<string> =>
  new Set((db.prepare(sequences).raw().all() as Array<ReadonlyArray<unknown>>).map((row) => row.join("\0")))

const unlike = (before: ReadonlySet<string>, after: ReadonlySet<string>): string | undefined =>
  [...after].find((entry) => !before.has(entry)) ?? [...before].find((entry) => !after.has(entry))

/**
 * Looks at a statement before it runs, and throws if it would write one of the hub's own tables; the function that it
 * returns looks at what it has made of their definitions and ids, and throws if that is not as it was.
 *
 * @since 0.1.0
 * @category checks
 */
export const watch = (db: Database, sql: string, params: ReadonlyArray<unknown>): (() => void) => {
  const { definitions, sequenceRoot, tables } = schemaOf(db)
  const program = programOf(db, sql, params)
  const written = roots(program)
  const virtual = virtualTables(program)
  for (const { name, root } of tables) {
    const hit =
      root === 0
        ? virtual.length > 0 &&
          virtualTables(programOf(db, `DELETE FROM "${name.replaceAll('"', '""')}"`, [])).some((at) =>
            virtual.includes(at)
          )
        : written.has(root)
    if (hit) refuse(name)
  }
  // What is run later by others: a trigger, or a foreign key that their rows must keep to.
  if (written.has(schemaRoot) && /\b(trigger|references)\b/i.test(sql)) {
    const [named] = /\b(db_hub_|sqlite_sequence)\w*/i.exec(sql) ?? []
    if (named !== undefined) refuse(named)
  }
  const counts = sequenceRoot !== undefined && written.has(sequenceRoot) ? countsOf(db) : undefined
  const defines = program.some(({ opcode }) => opcode === "SetCookie")
  return () => {
    const changed =
      (defines ? unlike(definitions, schemaOf(db).definitions) : undefined) ?? (counts && unlike(counts, countsOf(db)))
    if (changed !== undefined) refuse(changed.split("\0")[0]!)
  }
}
