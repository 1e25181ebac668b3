import { assert, describe, it } from "@effect/vitest"
import SqliteDatabase from "better-sqlite3"
import * as FastCheck from "effect/FastCheck"
import { Highlight, QuerySyntax, TextAnalysis } from "../../src/vector/index.js"
import * as Porter from "../../src/vector/Porter.js"

const plainTerms = (text: string) => QuerySyntax.wanted(QuerySyntax.parse(text, "english")).map(({ terms }) => terms[0])
const marked = (
  text: string,
  query: string,
  syntax: QuerySyntax.Syntax = "plain",
  language: TextAnalysis.Language = "english"
) =>
  Highlight.ranges(text, QuerySyntax.parse(query, language, syntax), language).map(({ end, start }) =>
    text.slice(start, end)
  )

const language = FastCheck.constantFrom(...TextAnalysis.languages)

describe("Porter", () => {
  it("stems as the stemmer of FTS5 does", () => {
    const parts = FastCheck.constantFrom(
      ..."a e i o u y s t l b c ck ess bl at iz ation ational ing ed eed ies sses er ement ion fulness ousli logi biliti icate alize ative".split(
        " "
      ),
      ..."hop relat condit motor plaster happ sens vietnam oper agre trouble str rhyth syz".split(" ")
    )
    const word = FastCheck.array(parts, { minLength: 1, maxLength: 6 }).map((letters) => letters.join(""))
    const words = FastCheck.sample(word, { numRuns: 20_000, seed: 3 }).filter(
      (each) => each.length > 4 && each.length <= 60
    )
    const db = new SqliteDatabase(":memory:")
    db.exec("CREATE VIRTUAL TABLE f USING fts5 (x, tokenize = 'porter ascii')")
    db.exec("CREATE VIRTUAL TABLE v USING fts5vocab (f, 'instance')")
    const insert = db.prepare("INSERT INTO f (rowid, x) VALUES (?, ?)")
    db.transaction(() => {
      words.forEach((each, i) => {
        insert.run(i, each)
      })
    })()
    const rows = db.prepare("SELECT doc, term FROM v").all() as Array<{ doc: number; term: string }>
    assert.strictEqual(rows.length, words.length)
    for (const { doc, term } of rows) assert.strictEqual(Porter.stem(words[doc]!), term, words[doc])
    db.close()
  })
})

describe("TextAnalysis", () => {
  it("finds words whatever their case, width, accents and form", () => {
    assert.deepStrictEqual(TextAnalysis.terms("Café CAFE\u0301 ＣＡＦＥ connections", "english"), [
      "cafe",
      "cafe",
      "cafe",
      "connect"
    ])
    assert.deepStrictEqual(TextAnalysis.terms("connections", "simple"), ["connections"])
  })

  it("takes text without spaces apart into pairs, and pictographs alone", () => {
    assert.deepStrictEqual(TextAnalysis.terms("説明書 is 書🚀", "english"), ["説明", "明書", "書", "is", "書", "🚀"])
  })

  it("gives terms of letters and digits only, whose places lie in the text in order", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ unit: "binary", maxLength: 40 }), language, (text, language) => {
        let last = 0
        for (const { end, start, term } of TextAnalysis.tokens(text, language)) {
          assert.match(term, /^(?:[\p{L}\p{M}\p{N}]+|\p{Extended_Pictographic})$/u)
          assert.isTrue(start >= last && end > start && end <= text.length)
          assert.isTrue(text.slice(start, end).isWellFormed() || !text.isWellFormed())
          last = start
        }
      }),
      { numRuns: 4000 }
    )
  })
})

describe("QuerySyntax", () => {
  it("plain: every word is an alternative, and nothing is an operator", () => {
    const query = QuerySyntax.parse(`"User" AND -preferences OR (detailed*`, "english")
    assert.deepStrictEqual(
      query.map(({ all, none }) => [all, none]),
      ["user", "prefer", "detail"].map((term) => [[{ terms: [term], prefix: false }], []])
    )
  })

  it("plain: words of grammar count only where there are no others", () => {
    assert.deepStrictEqual(plainTerms("what does the user prefer"), ["user", "prefer"])
    assert.deepStrictEqual(plainTerms("to be or not to be"), ["to", "be", "or", "not"])
  })

  it("plain: nothing to look for is an empty query", () => {
    for (const text of ["", " ", "(", '"', "***", "--", "\n"]) assert.deepStrictEqual(plainTerms(text), [])
  })

  it("advanced: phrases, exclusions, alternatives and prefixes", () => {
    assert.deepStrictEqual(QuerySyntax.parse(`"vector search" sqlite -mysql OR postgr*`, "english", "advanced"), [
      {
        all: [
          { terms: ["vector", "search"], prefix: false },
          { terms: ["sqlite"].map(Porter.stem), prefix: false }
        ],
        none: [{ terms: ["mysql"], prefix: false }]
      },
      { all: [{ terms: ["postgr"], prefix: true }], none: [] }
    ])
    assert.deepStrictEqual(QuerySyntax.parse("-only -excluded OR OR", "english", "advanced"), [])
  })

  it("any text is a query, and each phrase of it has a term", () => {
    const typed = FastCheck.array(
      FastCheck.constantFrom('"', "-", "*", "OR", " ", "AND", "a", "説明", "(", ":", "😀", "'")
    )
    FastCheck.assert(
      FastCheck.property(
        typed.map((parts) => parts.join("")),
        FastCheck.constantFrom("plain" as const, "advanced" as const),
        language,
        (text, syntax, language) => {
          for (const { all, none } of QuerySyntax.parse(text, language, syntax)) {
            assert.isAbove(all.length, 0)
            for (const { terms } of [...all, ...none]) assert.isAbove(terms.length, 0)
          }
        }
      )
    )
  })
})

describe("Highlight", () => {
  it("marks words by their stems, phrases as a whole, prefixes, and parts of text without spaces", () => {
    assert.deepStrictEqual(marked("He prefers tea; the User", "user preferences"), ["prefers", "User"])
    assert.deepStrictEqual(marked("a vector search, a search", `"vector search"`, "advanced"), ["vector search"])
    assert.deepStrictEqual(marked("PostgreSQL and more", "postg*", "advanced"), ["PostgreSQL"])
    assert.deepStrictEqual(marked("この説明書は", "説明書"), ["説明書"])
    assert.deepStrictEqual(marked("黒猫がいる", "猫"), ["猫"])
    assert.deepStrictEqual(marked("👍🏽 done", "👍"), ["👍"])
  })

  it("marks parts of words as a trigram", () => {
    const parts = (text: string, query: string) => marked(text, query, "plain", "trigram")
    assert.deepStrictEqual(parts("the substation's", "station"), ["station"])
    assert.deepStrictEqual(parts("Cafe\u0301s and caféteria", "café"), ["Cafe\u0301s", "café"])
    assert.deepStrictEqual(parts("a red bed", "ed"), ["ed", "ed"])
    assert.deepStrictEqual(marked("red fish", '"ed fi"', "advanced", "trigram"), ["ed fis"])
  })

  it("never cuts a character", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.string({ unit: "grapheme" }),
        FastCheck.string({ unit: "grapheme" }),
        language,
        (text, query, language) => {
          for (const part of marked(text + query, query, "plain", language))
            assert.isTrue(part.isWellFormed() && part !== "")
        }
      )
    )
  })
})
