import * as NodeFs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { failureOf, openClient, temporaryFolder } from "../support/index.js"

for (const kind of ["file", ":memory:"]) {
  const opened = Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const client = yield* openClient({ path: kind === "file" ? `${folder}/hub.db` : kind })
    yield* client.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
    yield* client.execute("INSERT INTO t (id) VALUES (1), (2), (3)")
    return { folder, client }
  })

  describe(`readOnly on ${kind}`, () => {
    const refused: ReadonlyArray<readonly [string, "DbReadOnly" | "InvalidInput"]> = [
      ["INSERT INTO t (id) VALUES (9)", "DbReadOnly"],
      ["INSERT INTO t (id) VALUES (9) RETURNING id", "DbReadOnly"],
      ["UPDATE t SET x = 1 RETURNING id", "DbReadOnly"],
      ["DELETE FROM t", "DbReadOnly"],
      ["REPLACE INTO t (id) VALUES (1)", "DbReadOnly"],
      ["WITH c AS (SELECT 1) DELETE FROM t", "DbReadOnly"],
      ["WITH c AS (SELECT 1) DELETE FROM t RETURNING id", "DbReadOnly"],
      ["WITH c AS (SELECT 9 AS id) INSERT INTO t (id) SELECT id FROM c RETURNING id", "DbReadOnly"],
      ["CREATE TABLE u (x)", "DbReadOnly"],
      ["CREATE TEMP TABLE u (x)", "DbReadOnly"],
      ["DROP TABLE t", "DbReadOnly"],
      ["ALTER TABLE t ADD COLUMN y", "DbReadOnly"],
      ["VACUUM", "DbReadOnly"],
      ["VACUUM INTO 'FOLDER/copy.db'", "DbReadOnly"],
      ["ATTACH 'FOLDER/copy.db' AS other", "DbReadOnly"],
      ["DETACH main", "DbReadOnly"],
      ["REINDEX", "DbReadOnly"],
      ["ANALYZE", "DbReadOnly"],
      ["BEGIN", "DbReadOnly"],
      ["COMMIT", "DbReadOnly"],
      ["SAVEPOINT s", "DbReadOnly"],
      ["PRAGMA user_version = 9", "DbReadOnly"],
      ["PRAGMA user_version(9)", "DbReadOnly"],
      ["PRAGMA main.user_version = 9", "DbReadOnly"],
      ['PRAGMA "main"."user_version" = 9', "DbReadOnly"],
      ["PRAGMA /* c */ user_version /* c */ = 9", "DbReadOnly"],
      ["-- c\nPRAGMA user_version=9", "DbReadOnly"],
      [";; PRAGMA user_version = 9", "DbReadOnly"],
      ["/* c */ ; -- c\n DELETE FROM t", "DbReadOnly"],
      ["PRAGMA application_id = 9", "DbReadOnly"],
      ["PRAGMA schema_version = 9", "DbReadOnly"],
      ["PRAGMA query_only = OFF", "DbReadOnly"],
      ["PRAGMA query_only(0)", "DbReadOnly"],
      ["PRAGMA writable_schema = 1", "DbReadOnly"],
      ["PRAGMA journal_mode = DELETE", "DbReadOnly"],
      ["PRAGMA journal_mode", "DbReadOnly"],
      ["PRAGMA wal_checkpoint(TRUNCATE)", "DbReadOnly"],
      ["PRAGMA foreign_keys = OFF", "DbReadOnly"],
      ["PRAGMA incremental_vacuum", "DbReadOnly"],
      ["PRAGMA optimize", "DbReadOnly"],
      ["EXPLAIN PRAGMA query_only = OFF", "DbReadOnly"],
      ["EXPLAIN QUERY PLAN PRAGMA foreign_keys = OFF", "DbReadOnly"],
      ["explain /* c */ pragma foreign_keys(0)", "DbReadOnly"],
      ["", "DbReadOnly"],
      ["-- nothing", "DbReadOnly"],
      ["SELECT 1; DELETE FROM t", "InvalidInput"],
      ["SELECT 1; SELECT 2", "InvalidInput"],
      ["SELECT 1;;DELETE FROM t", "InvalidInput"],
      ["EXPLAIN SELECT 1; PRAGMA user_version = 9", "DbReadOnly"],
      ["EXPLAIN SELECT 1; SELECT 2", "InvalidInput"]
    ]

    it.scoped("refuses every statement that writes, reaches out or sets, and changes nothing", () =>
      Effect.gen(function* () {
        const { client, folder } = yield* opened
        const state = () => [
          ...[
            "user_version",
            "application_id",
            "schema_version",
            "foreign_keys",
            "query_only",
            "journal_mode",
            "writable_schema"
          ].map((name) => client.writer.pragma(name, { simple: true })),
          client.reader.pragma("foreign_keys", { simple: true }),
          client.reader.pragma("query_only", { simple: true }),
          client.writer.prepare("SELECT * FROM t").all(),
          client.writer.prepare("SELECT name FROM sqlite_schema UNION ALL SELECT name FROM sqlite_temp_schema").all(),
          NodeFs.existsSync(`${folder}/copy.db`)
        ]
        const before = state()
        for (const [text, tag] of refused) {
          const sql = text.replace("FOLDER", folder)
          const error = yield* failureOf(client.readOnly(sql))
          assert.strictEqual(error._tag, tag, sql)
          assert.notInclude(error.message, folder)
          assert.deepStrictEqual(state(), before, sql)
          const inside = yield* client.transaction(failureOf(client.readOnly(sql)))
          assert.strictEqual(inside._tag, tag, sql)
          assert.deepStrictEqual(state(), before, sql)
        }
        // The guard is off again afterwards.
        yield* client.execute("INSERT INTO t (id) VALUES (4)")
      })
    )

    it.scoped("lets everything through that reads", () =>
      Effect.gen(function* () {
        const { client } = yield* opened
        for (const sql of [
          "SELECT * FROM t",
          "  ; SELECT 1;",
          "SELECT 1; -- the end",
          "VALUES (1), (2)",
          "WITH c AS (SELECT 1) SELECT * FROM c",
          "EXPLAIN QUERY PLAN SELECT * FROM t",
          "PRAGMA table_info(t)",
          "PRAGMA main.table_info('t')",
          "PRAGMA user_version",
          "PRAGMA main.user_version;",
          "PRAGMA integrity_check",
          "SELECT * FROM pragma_table_info('t')",
          "SELECT ';DELETE FROM t'"
        ]) {
          assert.isAbove((yield* client.readOnly(sql)).rows.length, 0, sql)
        }
      })
    )

    it.scoped("only explains a write", () =>
      Effect.gen(function* () {
        const { client } = yield* opened
        const plan = yield* client.readOnly("EXPLAIN DELETE FROM t")
        assert.include(plan.columns, "opcode")
        yield* client.readOnly("EXPLAIN QUERY PLAN DELETE FROM t WHERE id = 1")
        assert.deepStrictEqual((yield* client.readOnly("SELECT count(*) FROM t")).rows, [[3]])
      })
    )

    it.scoped("says truncated exactly when there are more rows", () =>
      Effect.gen(function* () {
        const { client } = yield* opened
        for (const [maxRows, length, truncated] of [
          [1, 1, true],
          [2, 2, true],
          [3, 3, false],
          [4, 3, false]
        ] as const) {
          const result = yield* client.readOnly("SELECT id FROM t ORDER BY id", { maxRows })
          assert.strictEqual(result.rows.length, length)
          assert.strictEqual(result.truncated, truncated)
        }
        const endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c"
        const result = yield* client.readOnly(endless)
        assert.strictEqual(result.rows.length, 100)
        assert.isTrue(result.truncated)
        const empty = yield* client.readOnly("SELECT id, x FROM t WHERE id = ?", { params: [99] })
        assert.deepStrictEqual(empty, { columns: ["id", "x"], rows: [], truncated: false })
        for (const maxRows of [0, -1, 1.5, Number.NaN]) {
          assert.strictEqual((yield* failureOf(client.readOnly("SELECT 1", { maxRows })))._tag, "InvalidInput")
        }
      })
    )

    it.scopedLive("beside a stream of the same transaction fails with a typed error, and leaves no guard behind", () =>
      Effect.gen(function* () {
        const { client } = yield* opened
        const endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c"
        const error = yield* failureOf(
          client.transaction(Stream.runForEach(client.stream(endless), () => client.readOnly("SELECT 1")))
        )
        assert.strictEqual(error.code, "HUB_OPEN_STREAM")
        yield* client.transaction(client.execute("INSERT INTO t (id) VALUES (4)"))
        assert.strictEqual(client.writer.pragma("query_only", { simple: true }), 0)
      })
    )

    it.scoped("keeps columns of one name apart", () =>
      Effect.gen(function* () {
        const { client } = yield* opened
        assert.deepStrictEqual(yield* client.readOnly("SELECT 1 AS a, 2 AS a, 3 AS a_2, 4 AS a"), {
          columns: ["a", "a_2", "a_2_2", "a_3"],
          rows: [[1, 2, 3, 4]],
          truncated: false
        })
      })
    )
  })
}
