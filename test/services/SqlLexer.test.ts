import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { lexical as sqlite } from "../../src/layers/sqlite/SqliteDialect.js"
import * as SqlLexer from "../../src/services/SqlLexer.js"

const postgresql: SqlLexer.Lexical = {
  dollarQuotes: true,
  backslashes: "e-strings",
  nestedComments: true,
  hashComments: false,
  brackets: false
}

const mysql: SqlLexer.Lexical = {
  dollarQuotes: false,
  backslashes: "all",
  nestedComments: false,
  hashComments: true,
  brackets: false
}

const all = { sqlite, postgresql, mysql }

const numbered = (sql: string, lexical: SqlLexer.Lexical) =>
  SqlLexer.translatePlaceholders(sql, lexical, (index) => `$${index}`)

/** Pieces of SQL that bring every state of the lexer about, and collide when they are joined. */
const piece = FastCheck.oneof(
  FastCheck.constantFrom(
    ..."? ?? ?| ?& ?|| ?&& @? ' '' \" ` [ ] ]] $$ $a$ $1 -- # /* */ /*/ \\ \\' E' e' U&' ; ( ) \n \r \t : :: a e1 1e+5 0x1F select".split(
      " "
    ),
    " "
  ),
  FastCheck.string({ maxLength: 4 }),
  FastCheck.string({ unit: "binary", maxLength: 3 })
)
const text = FastCheck.array(piece, { maxLength: 30 }).map((pieces) => pieces.join(""))

describe("tokens", () => {
  for (const [name, lexical] of Object.entries(all)) {
    it(`joined are the text again, and none is empty (${name})`, () => {
      FastCheck.assert(
        FastCheck.property(text, (sql) => {
          const tokens = Array.from(SqlLexer.tokens(sql, lexical))
          assert.strictEqual(tokens.map((token) => token.text).join(""), sql)
          assert.isTrue(tokens.every((token) => token.text.length > 0))
        }),
        { numRuns: 3000 }
      )
    })
  }

  it("end where a string, comment or name is never closed", () => {
    for (const lexical of Object.values(all)) {
      for (const sql of [
        "'abc ?",
        "'abc\\",
        '"abc ?',
        "`abc ?",
        "[abc ?",
        "/* abc ? /*",
        "$$ abc ?",
        "$t$ ? $t",
        "E'\\",
        "--",
        "'a''",
        "?'"
      ]) {
        assert.strictEqual(
          Array.from(SqlLexer.tokens(sql, lexical))
            .map((token) => token.text)
            .join(""),
          sql
        )
      }
    }
  })

  it("take long texts in linear time", () => {
    for (const part of ["?", "'", "''", "$", "$a", "/*", "-", "a", "1e", "[", "\\"]) {
      const sql = part.repeat(50_000)
      const started = performance.now()
      for (const lexical of Object.values(all)) SqlLexer.translatePlaceholders(sql, lexical, () => "?")
      assert.isBelow(performance.now() - started, 3000, part)
    }
  })
})

describe("translatePlaceholders", () => {
  for (const [name, lexical] of Object.entries(all)) {
    it(`leaves what is quoted or commented alone (${name})`, () => {
      const quoted = ["'?'", "'it''s ?'", '"na?me"', '"a""?"', "-- ? \n", "/* ? */", "''"]
      if (name === "mysql") quoted.push("`?`", "'\\'?'", '"\\"?"', "# ? \n")
      if (name === "postgresql") {
        quoted.push("$$ ? $$", "$tag$ ? $$ ? $tag$", "$ü1$?$ü1$", "E'\\'?'", "e'?'", "/* /* ? */ ? */", "'\\'")
      }
      if (name === "sqlite") quoted.push("`?`", "[?]", "[a ? 'b]", "'\\'")
      FastCheck.assert(
        FastCheck.property(FastCheck.array(FastCheck.constantFrom(...quoted, "?"), { maxLength: 12 }), (parts) => {
          let n = 0
          const expected = parts.map((part) => (part === "?" ? `$${++n}` : part)).join(" + ")
          assert.deepStrictEqual(numbered(parts.join(" + "), lexical), { sql: expected, count: n })
        })
      )
    })
  }

  const cases: ReadonlyArray<readonly [string, string]> = [
    ["a ?| b", "a ?| b"],
    ["a ?& b", "a ?& b"],
    ["a ?| ?", "a ?| $1"],
    ["a ?? 'k'", "a ? 'k'"],
    ["a ?? ?", "a ? $1"],
    ["a @? ?", "a @? $1"],
    ["?||'x'", "$1||'x'"],
    ["'x'||?", "'x'||$1"],
    ["?||?", "$1||$2"],
    ["?&&?", "$1&&$2"],
    ["(?,?)", "($1,$2)"],
    ["?::int", "$1::int"],
    ["a$b ? c$b", "a$b $1 c$b"],
    ["1?2", "1$12"],
    ["name'?'?", "name'?'$1"],
    ["\u{1F980}?", "\u{1F980}$1"]
  ]
  for (const [sql, expected] of cases) {
    it(`makes ${expected} of ${sql}`, () => assert.strictEqual(numbered(sql, postgresql).sql, expected))
  }

  it("knows a dollar quote from a parameter and a name with dollars", () => {
    assert.strictEqual(numbered("SELECT $1, a$$b, ? -- $$ ?", postgresql).sql, "SELECT $1, a$$b, $1 -- $$ ?")
    assert.strictEqual(numbered("$$?$$", sqlite).count, 1)
    assert.strictEqual(numbered("$$?$$", postgresql).count, 0)
  })

  it("knows each engine's comments and escapes", () => {
    assert.strictEqual(numbered("# ?", mysql).count, 0)
    assert.strictEqual(numbered("a # ?", postgresql).count, 1)
    assert.strictEqual(numbered("/* /* */ ? */", sqlite).count, 1)
    assert.strictEqual(numbered("/* /* */ ? */", postgresql).count, 0)
    assert.strictEqual(numbered("'\\' ? '", mysql).count, 0)
    assert.strictEqual(numbered("'\\' ? ''", postgresql).count, 1)
    assert.strictEqual(numbered("a[?]", postgresql).count, 1)
    assert.strictEqual(numbered("[?]", sqlite).count, 0)
  })
})

describe("names", () => {
  it("are words and quoted texts alike", () => {
    assert.deepStrictEqual(SqlLexer.names("select 'a' \"b\" [c] `d` /* e */ 1", sqlite), ["SELECT", "A", "B", "C", "D"])
  })
})

describe("keywords", () => {
  it("are the words of the statement, without strings, comments and quoted names", () => {
    assert.deepStrictEqual(
      SqlLexer.keywords("-- drop\n ;with x as (select 'delete' \"update\" [insert]) /* c */ Select 1", sqlite),
      ["WITH", "X", "AS", "SELECT", "SELECT"]
    )
    assert.deepStrictEqual(SqlLexer.keywords("", sqlite), [])
  })
})
