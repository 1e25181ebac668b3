/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { DbError, DbQuery } from "../errors/index.js"
import { Backend, type BackendShape, Json } from "../services/Backend.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

const withTable = (
  test: (backend: BackendShape, table: string) => Effect.Effect<void, unknown>
): Effect.Effect<void, unknown, Backend> =>
  Effect.gen(function* () {
    const backend = yield* Backend
    const { types } = backend.dialect
    const table = yield* fresh("t")
    yield* backend.execute(`CREATE TABLE ${table} (id ${types.integer} PRIMARY KEY, note ${types.text})`)
    yield* test(backend, table)
  })

const ids = (backend: BackendShape, table: string) =>
  Effect.map(backend.query(`SELECT id FROM ${table} ORDER BY id`), (rows) => rows.map((row) => row["id"]))

const insert = (backend: BackendShape, table: string, id: number, note = "x") =>
  backend.execute(`INSERT INTO ${table} (id, note) VALUES (?, ?)`, [id, note])

const enqueue = (backend: BackendShape, table: string, id: number) =>
  backend.enqueue(`INSERT INTO ${table} (id, note) VALUES (?, ?)`, [id, "x"])

/**
 * What every `Backend` promises.
 *
 * @since 0.1.0
 * @category suites
 */
export const backendSuite: Suite = {
  "rows written with ? parameters are read back": withTable((backend, table) =>
    Effect.gen(function* () {
      yield* insert(backend, table, 1, "it's ?")
      yield* equal(yield* backend.query(`SELECT id, note FROM ${table} WHERE note = ?`, ["it's ?"]), [
        { id: 1, note: "it's ?" }
      ])
    })
  ),

  "a ? in a string, a comment or a quoted name is no parameter": withTable((backend, table) =>
    Effect.gen(function* () {
      const rows = yield* backend.query(
        `SELECT 'what?' AS "a?", /* ? */ note -- ?
         FROM ${table} WHERE id = ? OR note = '?'`,
        [1]
      )
      yield* equal(rows, [])
    })
  ),

  "values come back as they went in, by the declared type of their column": Effect.gen(function* () {
    const backend = yield* Backend
    const { types } = backend.dialect
    const table = yield* fresh("v")
    yield* backend.execute(
      `CREATE TABLE ${table} (id ${types.integer} PRIMARY KEY, flag ${types.boolean}, moment ${types.timestamp}, big ${types.integer}, raw ${types.bytes}, doc ${types.json}, scalar ${types.json}, absent ${types.text})`
    )
    const row = {
      id: 1,
      flag: true,
      moment: new Date("2026-02-03T04:05:06.789Z"),
      big: 9_223_372_036_854_775_807n,
      raw: new Uint8Array([0, 1, 255]),
      doc: { a: [1, "två", null, { b: false }] },
      scalar: "text",
      absent: null
    }
    yield* backend.execute(`INSERT INTO ${table} VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, [
      row.id,
      row.flag,
      row.moment,
      row.big,
      row.raw,
      row.doc,
      new Json(row.scalar),
      row.absent
    ])
    const [read] = yield* backend.query(`SELECT * FROM ${table}`)
    yield* equal({ ...read, raw: new Uint8Array(read!["raw"] as Uint8Array) }, row)
    const streamed = yield* Stream.runCollect(backend.stream(`SELECT flag, moment, big, doc FROM ${table}`))
    yield* equal(Chunk.toReadonlyArray(streamed), [{ flag: row.flag, moment: row.moment, big: row.big, doc: row.doc }])
  }),

  "a value with no SQL form is refused by its position, before anything is written": withTable((backend, table) =>
    Effect.gen(function* () {
      for (const value of [
        undefined,
        Symbol("s"),
        () => 1,
        new Map(),
        Number.NaN,
        2n ** 64n,
        "\ud800",
        new Date(Number.NaN),
        { deep: [Number.NaN] },
        { deep: new Map() },
        { deep: 1n }
      ]) {
        const error = yield* failsWith(
          "InvalidInput",
          backend.execute(`INSERT INTO ${table} (id, note) VALUES (?, ?)`, [1, value as never])
        )
        yield* equal((error as { field?: string }).field, "params[1]")
      }
      yield* equal(yield* ids(backend, table), [])
    })
  ),

  "the wrong number of parameters is refused": withTable((backend, table) =>
    Effect.gen(function* () {
      yield* failsWith("InvalidInput", backend.query(`SELECT * FROM ${table} WHERE id = ?`, []))
      yield* failsWith("InvalidInput", backend.query(`SELECT * FROM ${table} WHERE id = ?`, [1, 2]))
    })
  ),

  "two statements in one text are refused": withTable((backend, table) =>
    Effect.gen(function* () {
      yield* Effect.flip(backend.query(`SELECT 1; DELETE FROM ${table}`))
      yield* Effect.flip(backend.execute(`DELETE FROM ${table}; DELETE FROM ${table}`))
    })
  ),

  "execute tells how many rows it changed, and the rows of RETURNING": withTable((backend, table) =>
    Effect.gen(function* () {
      for (const id of [1, 2, 3]) yield* insert(backend, table, id)
      const updated = yield* backend.execute(`UPDATE ${table} SET note = 'y' WHERE id > ?`, [1])
      yield* equal([updated.rowsAffected, updated.lastInsertId], [2, null])
      const deleted = yield* backend.execute(`DELETE FROM ${table} WHERE id = 1 RETURNING id, note`)
      yield* equal([deleted.rowsAffected, deleted.rows], [1, [{ id: 1, note: "x" }]])
    })
  ),

  "a duplicate key is a unique DbConflict": withTable((backend, table) =>
    Effect.gen(function* () {
      yield* insert(backend, table, 1)
      const error = yield* failsWith("DbConflict", insert(backend, table, 1))
      yield* equal([(error as { reason?: string }).reason, error.retryable, error.applied], ["unique", false, "no"])
    })
  ),

  "rules of the schema are DbConstraint, with their kind": Effect.gen(function* () {
    const backend = yield* Backend
    const { types } = backend.dialect
    const [parent, child] = [yield* fresh("parent"), yield* fresh("child")]
    yield* backend.execute(`CREATE TABLE ${parent} (id ${types.integer} PRIMARY KEY)`)
    yield* backend.execute(
      `CREATE TABLE ${child} (id ${types.integer} PRIMARY KEY, parent ${types.integer} NOT NULL REFERENCES ${parent} (id), n ${types.integer} CHECK (n > 0))`
    )
    yield* backend.execute(`INSERT INTO ${parent} VALUES (1)`)
    const reasonOf = (values: ReadonlyArray<number | null>) =>
      Effect.map(
        failsWith("DbConstraint", backend.execute(`INSERT INTO ${child} VALUES (?, ?, ?)`, values)),
        (error) => (error as { reason?: string }).reason
      )
    yield* equal(
      [yield* reasonOf([1, 2, 1]), yield* reasonOf([1, null, 1]), yield* reasonOf([1, 1, 0])],
      ["foreign-key", "not-null", "check"]
    )
  }),

  "bad syntax and a missing table are DbQuery": Effect.gen(function* () {
    const backend = yield* Backend
    yield* failsWith("DbQuery", backend.query("SELEKT 1"))
    yield* failsWith("DbQuery", backend.query("SELECT * FROM no_such_table_anywhere"))
  }),

  "no error carries a value": withTable((backend, table) =>
    Effect.gen(function* () {
      const secret = "sk-very-secret-value"
      yield* backend.execute(`CREATE UNIQUE INDEX ${table}_note ON ${table} (note)`)
      yield* insert(backend, table, 1, secret)
      const errors = [
        yield* Effect.flip(insert(backend, table, 2, secret)),
        yield* Effect.flip(backend.query(`SELECT * FROM ${table} WHERE note = '${secret}' AND nope(`)),
        yield* Effect.flip(backend.query(`SELECT '${secret}' '`)),
        yield* Effect.flip(backend.execute(`INSERT INTO ${table} (id, note) VALUES (?, ?)`, [secret, secret]))
      ]
      yield* Effect.sync(() => {
        for (const error of errors) {
          NodeAssert.ok(!JSON.stringify(error).includes(secret), `${error._tag} carries a value: ${error.message}`)
          NodeAssert.ok(!error.message.includes(secret))
        }
      })
    })
  ),

  "every error survives a wire": withTable((backend, table) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(backend.query(`SELECT * FROM ${table}_missing`))
      const wire = JSON.stringify(yield* Schema.encode(DbError)(error))
      const received = yield* Schema.decodeUnknown(DbError)(JSON.parse(wire))
      yield* equal({ ...received, message: received.message }, { ...error, message: error.message })
      yield* Effect.sync(() => NodeAssert.ok(received instanceof DbQuery))
    })
  ),

  "a transaction is committed when its body succeeds": withTable((backend, table) =>
    Effect.gen(function* () {
      const result = yield* backend.transaction(
        Effect.zipRight(insert(backend, table, 1), Effect.as(insert(backend, table, 2), "done"))
      )
      yield* equal([result, yield* ids(backend, table)], ["done", [1, 2]])
    })
  ),

  "a transaction is undone when its body fails, and the failure passes unchanged": withTable((backend, table) =>
    Effect.gen(function* () {
      const failure = { mine: true }
      const error = yield* Effect.flip(
        backend.transaction(Effect.zipRight(insert(backend, table, 1), Effect.fail(failure)))
      )
      yield* equal(error, failure)
      yield* equal(yield* ids(backend, table), [])
    })
  ),

  "a transaction is undone when it is interrupted, and others go on": withTable((backend, table) =>
    Effect.gen(function* () {
      const written = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(
        backend.transaction(
          Effect.zipRight(
            insert(backend, table, 1),
            Effect.zipRight(Deferred.succeed(written, undefined), Effect.never)
          )
        )
      )
      yield* Deferred.await(written)
      yield* Fiber.interrupt(fiber)
      yield* insert(backend, table, 2)
      yield* equal(yield* ids(backend, table), [2])
    })
  ),

  "a transaction sees its own writes": withTable((backend, table) =>
    backend.transaction(
      Effect.gen(function* () {
        yield* insert(backend, table, 1)
        yield* equal(yield* ids(backend, table), [1])
      })
    )
  ),

  "a nested transaction is undone alone": withTable((backend, table) =>
    Effect.gen(function* () {
      yield* backend.transaction(
        Effect.gen(function* () {
          yield* insert(backend, table, 1)
          yield* Effect.ignore(backend.transaction(Effect.zipRight(insert(backend, table, 2), Effect.fail("no"))))
          yield* backend.transaction(insert(backend, table, 3))
        })
      )
      yield* equal(yield* ids(backend, table), [1, 3])
    })
  ),

  "nested transactions side by side keep and lose what is theirs": withTable((backend, table) =>
    Effect.gen(function* () {
      const attempt = (id: number) =>
        backend.transaction(
          Effect.gen(function* () {
            yield* insert(backend, table, id)
            yield* Effect.yieldNow()
            if (id % 2 === 1) return yield* Effect.fail("odd")
          })
        )
      yield* backend.transaction(
        Effect.forEach([1, 2, 3, 4, 5, 6], (id) => Effect.ignore(attempt(id)), { concurrency: "unbounded" })
      )
      yield* equal(yield* ids(backend, table), [2, 4, 6])
    })
  ),

  "a failed statement inside a transaction can be caught in a nested one": withTable((backend, table) =>
    Effect.gen(function* () {
      yield* backend.transaction(
        Effect.gen(function* () {
          yield* insert(backend, table, 1)
          yield* failsWith("DbConflict", backend.transaction(insert(backend, table, 1)))
          yield* insert(backend, table, 2)
        })
      )
      yield* equal(yield* ids(backend, table), [1, 2])
    })
  ),

  "an enqueued statement takes effect in its order, and alone at once": withTable((backend, table) =>
    Effect.gen(function* () {
      yield* enqueue(backend, table, 1)
      yield* equal(yield* ids(backend, table), [1])
      yield* backend.transaction(
        Effect.gen(function* () {
          yield* enqueue(backend, table, 2)
          yield* equal(yield* ids(backend, table), [1, 2])
          yield* backend.enqueue(`UPDATE ${table} SET note = ? WHERE id = ?`, ["first", 2])
          yield* backend.enqueue(`UPDATE ${table} SET note = ? WHERE id = ?`, ["last", 2])
        })
      )
      yield* equal(yield* backend.query(`SELECT note FROM ${table} WHERE id = ?`, [2]), [{ note: "last" }])
      // More than are left to one statement.
      const many = Array.from({ length: 250 }, (_, n) => n + 10)
      yield* backend.transaction(Effect.forEach(many, (id) => enqueue(backend, table, id), { discard: true }))
      yield* equal(yield* ids(backend, table), [1, 2, ...many])
    })
  ),

  "enqueued statements are undone with their transaction, nested ones alone": withTable((backend, table) =>
    Effect.gen(function* () {
      yield* Effect.flip(backend.transaction(Effect.zipRight(enqueue(backend, table, 1), Effect.fail("no"))))
      yield* backend.transaction(
        Effect.gen(function* () {
          yield* enqueue(backend, table, 2)
          yield* Effect.flip(backend.transaction(Effect.zipRight(enqueue(backend, table, 3), Effect.fail("no"))))
          yield* backend.transaction(enqueue(backend, table, 4))
          yield* enqueue(backend, table, 5)
        })
      )
      yield* equal(yield* ids(backend, table), [2, 4, 5])
    })
  ),

  "an enqueued statement that fails fails its transaction as a whole, a nested one alone": withTable((backend, table) =>
    Effect.gen(function* () {
      yield* enqueue(backend, table, 1)
      const twice = Effect.zipRight(enqueue(backend, table, 2), enqueue(backend, table, 1))
      yield* failsWith("DbConflict", backend.transaction(twice))
      yield* failsWith("DbConflict", backend.transaction(Effect.zipRight(twice, ids(backend, table))))
      yield* equal(yield* ids(backend, table), [1])
      yield* backend.transaction(
        Effect.gen(function* () {
          yield* enqueue(backend, table, 3)
          yield* failsWith("DbConflict", backend.transaction(twice))
          yield* enqueue(backend, table, 4)
        })
      )
      yield* equal(yield* ids(backend, table), [1, 3, 4])
    })
  ),

  "an enqueued statement is refused like any other before anything is sent": withTable((backend, table) =>
    Effect.gen(function* () {
      const refused = backend.enqueue(`INSERT INTO ${table} (id) VALUES (?)`, [1, 2])
      yield* failsWith("InvalidInput", backend.transaction(Effect.ignore(refused)).pipe(Effect.zipRight(refused)))
      yield* equal(yield* ids(backend, table), [])
    })
  ),

  "20 fibers that count in transactions lose no count": withTable((backend, table) =>
    Effect.gen(function* () {
      yield* insert(backend, table, 1, "0")
      const increment = backend.transaction(
        Effect.gen(function* () {
          yield* backend.execute(`UPDATE ${table} SET note = note WHERE id = 1`)
          const [row] = yield* backend.query(`SELECT note FROM ${table} WHERE id = 1`)
          yield* backend.execute(`UPDATE ${table} SET note = ? WHERE id = 1`, [String(Number(row!["note"]) + 1)])
        })
      )
      yield* Effect.all(
        Array.from({ length: 20 }, () => increment),
        { concurrency: "unbounded" }
      )
      yield* equal(yield* backend.query(`SELECT note FROM ${table}`), [{ note: "20" }])
    })
  ),

  "a stream gives all rows in order and may be left early": withTable((backend, table) =>
    Effect.gen(function* () {
      yield* backend.transaction(
        Effect.forEach(
          Array.from({ length: 3_000 }, (_, id) => id),
          (id) => insert(backend, table, id),
          { discard: true }
        )
      )
      const rows = backend.stream(`SELECT id FROM ${table} WHERE id >= ? ORDER BY id`, [10])
      const all = yield* Stream.runCollect(rows)
      yield* equal([Chunk.size(all), Chunk.unsafeHead(all), Chunk.unsafeLast(all)], [2_990, { id: 10 }, { id: 2_999 }])
      const some = yield* Stream.runCollect(Stream.take(rows, 3))
      yield* equal(Chunk.toReadonlyArray(some), [{ id: 10 }, { id: 11 }, { id: 12 }])
      yield* equal(yield* backend.transaction(Stream.runCount(rows)), 2_990)
    })
  ),

  "a stream of a bad statement fails with a type": Effect.gen(function* () {
    const backend = yield* Backend
    yield* failsWith("DbQuery", Stream.runDrain(backend.stream("SELECT * FROM no_such_table_anywhere")))
  }),

  "readOnly answers reads, and says exactly whether rows were left out": withTable((backend, table) =>
    Effect.gen(function* () {
      for (const id of [1, 2, 3]) yield* insert(backend, table, id)
      const select = `SELECT id, id AS id FROM ${table} ORDER BY id`
      yield* equal(yield* backend.readOnly(select, { maxRows: 3 }), {
        columns: ["id", "id_2"],
        rows: [
          [1, 1],
          [2, 2],
          [3, 3]
        ],
        truncated: false
      })
      const two = yield* backend.readOnly(`/* first */ WITH a AS (${select}) SELECT * FROM a`, { maxRows: 2 })
      yield* equal([two.rows.length, two.truncated], [2, true])
      for (const maxRows of [0, -1, 1.5, Number.NaN, 2 ** 31 - 1]) {
        yield* failsWith("InvalidInput", backend.readOnly(select, { maxRows }))
      }
    })
  ),

  "readOnly refuses whatever writes": withTable((backend, table) =>
    Effect.gen(function* () {
      yield* insert(backend, table, 1)
      for (const sql of [
        `DELETE FROM ${table}`,
        `INSERT INTO ${table} (id) VALUES (2) RETURNING id`,
        `SELECT 1; DELETE FROM ${table}`,
        `/* x */ UPDATE ${table} SET note = 'z'`,
        `DROP TABLE ${table}`,
        `CREATE TABLE ${table}_2 (id INTEGER)`,
        "BEGIN"
      ]) {
        yield* Effect.flip(backend.readOnly(sql))
      }
      yield* equal(yield* backend.query(`SELECT id, note FROM ${table}`), [{ id: 1, note: "x" }])
    })
  ),

  "schema tells columns, keys, indexes and foreign keys of a table with any name": Effect.gen(function* () {
    const backend = yield* Backend
    const { quoteIdentifier, types } = backend.dialect
    const name = `order "${yield* fresh("ü")}" group`
    const table = quoteIdentifier(name)
    yield* backend.execute(
      `CREATE TABLE ${table} (a ${types.integer}, b ${types.text} NOT NULL, up ${types.text}, PRIMARY KEY (b, a), FOREIGN KEY (up, a) REFERENCES ${table} (b, a) ON DELETE CASCADE)`
    )
    yield* backend.execute(`CREATE INDEX ${quoteIdentifier(`${name} idx`)} ON ${table} (up, a)`)
    const [info] = yield* backend.schema({ table: name })
    yield* equal(info!.name, name)
    yield* equal(info!.kind, "table")
    yield* equal(
      info!.columns.map((column) => [column.name, column.primaryKey]),
      [
        ["a", 2],
        ["b", 1],
        ["up", 0]
      ]
    )
    yield* equal(
      info!.foreignKeys.map((key) => ({ ...key })),
      [{ columns: ["up", "a"], table: name, references: ["b", "a"], onDelete: "CASCADE", onUpdate: "NO ACTION" }]
    )
    yield* Effect.sync(() =>
      NodeAssert.ok(info!.indexes.some((index) => index.name === `${name} idx` && index.columns.join() === "up,a"))
    )
  }),

  "schema shows views, hides the hub's own tables, and names what is near a missing one": withTable((backend, table) =>
    Effect.gen(function* () {
      yield* backend.execute(`CREATE VIEW ${table}_view AS SELECT id FROM ${table}`)
      const shown = yield* backend.schema()
      yield* Effect.sync(() => {
        NodeAssert.ok(shown.some(({ kind, name }) => name === `${table}_view` && kind === "view"))
        NodeAssert.ok(shown.every(({ name }) => !name.startsWith("db_hub_")))
      })
      const error = yield* failsWith("NotFound", backend.schema({ table: `${table}x` }))
      yield* Effect.sync(() => NodeAssert.match(error.message, new RegExp(table)))
    })
  ),

  "templates of @effect/sql run on the same connection and transaction": withTable((backend, table) =>
    Effect.gen(function* () {
      const { sql } = backend
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* sql`INSERT INTO ${sql(table)} ${sql.insert([
            { id: 1, note: "a" },
            { id: 2, note: "b" }
          ])}`
          yield* insert(backend, table, 3)
        })
      )
      yield* equal(yield* sql`SELECT id FROM ${sql(table)} WHERE ${sql.in("id", [1, 3])} ORDER BY id`, [
        { id: 1 },
        { id: 3 }
      ])
      const mine = new Error("mine")
      const error = yield* Effect.flip(
        sql.withTransaction(Effect.zipRight(insert(backend, table, 4), Effect.fail(mine)))
      )
      yield* equal(error.message, mine.message)
      yield* equal(yield* ids(backend, table), [1, 2, 3])
    })
  )
}
