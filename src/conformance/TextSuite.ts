/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { Backend } from "../services/Backend.js"
import { type TextCollectionOptions, type TextHit, type TextSearchOptions, TextStore } from "../services/TextStore.js"
import { Filter, type FilterInput, type JsonObject } from "../vector/index.js"
import { equal, failsWith, fresh, property, type Suite } from "./Case.js"
import { bm25 } from "./Plain.js"

const withCollection = (
  texts: Readonly<Record<string, string>>,
  test: (store: TextStore["Type"], collection: string) => Effect.Effect<void, unknown, Backend>,
  options: TextCollectionOptions = {}
): Effect.Effect<void, unknown, Backend | TextStore> =>
  Effect.gen(function* () {
    const store = yield* TextStore
    const collection = yield* fresh("texts")
    yield* store.createCollection(collection, options)
    yield* store.insertMany(
      collection,
      Object.entries(texts).map(([id, text]) => ({ id, text }))
    )
    yield* test(store, collection)
  })

const idsOf = (hits: ReadonlyArray<TextHit>) => hits.map(({ id }) => id)

/** Each search with the ids that it finds, in order. */
const finds = (
  texts: Readonly<Record<string, string>>,
  expected: ReadonlyArray<readonly [text: string, ids: ReadonlyArray<string>]>,
  { syntax = "plain", ...options }: TextCollectionOptions & Pick<TextSearchOptions, "syntax"> = {}
): Effect.Effect<void, unknown, Backend | TextStore> =>
  withCollection(
    texts,
    (store, collection) =>
      Effect.forEach(
        expected,
        ([text, ids]) =>
          Effect.flatMap(store.search(collection, text, { syntax }), (hits) => equal(idsOf(hits), ids, text)),
        { discard: true }
      ),
    options
  )

const awkward = [
  "",
  " ",
  "what's new",
  "C++",
  "foo-bar",
  "a: b",
  "mode?",
  "(",
  ")",
  '"',
  "'",
  "\\",
  "*",
  "-",
  "AND",
  "OR NOT",
  "NEAR(a b)",
  "a AND",
  "terms: x",
  "^a",
  "{a}",
  "a & b | !c <-> d:*",
  "%_",
  "😀",
  "👩‍👩‍👧 family",
  "\u0000",
  "\ud800",
  "日本語",
  "ー",
  "\u0301",
  "a\nb\tc",
  ";--",
  "x".repeat(10_000),
  "word ".repeat(2_000),
  Array.from({ length: 600 }, (_, i) => `w${i}`).join(" "),
  "説明".repeat(2_000)
]

const words = ["red", "green", "blue", "fish", "bird", "tree", "stone"]
const word = FastCheck.constantFrom(...words)
const records = FastCheck.array(
  FastCheck.record({
    text: FastCheck.array(word, { maxLength: 8 }),
    n: FastCheck.integer({ min: 0, max: 3 })
  }),
  { maxLength: 20 }
)

/**
 * @since 0.1.0
 * @category suites
 */
export const textSuite: Suite = {
  "a question in natural language finds texts that have some of its words, the best first": finds(
    {
      tea: "User prefers detailed answers about green tea",
      answers: "Answers may be detailed",
      other: "Nothing of the kind",
      more: "Bridges over rivers",
      yet: "Mountains and lakes",
      last: "Trains at night"
    },
    [
      ["what does the user prefer?", ["tea"]],
      ["which detailed answers are there about tea", ["tea", "answers"]],
      ["entirely absent", []]
    ]
  ),

  "english finds words by their stems, simple as they are": Effect.zipRight(
    finds({ a: "her preferences", b: "connected" }, [
      ["preference", ["a"]],
      ["connections", ["b"]]
    ]),
    finds(
      { a: "her preferences", b: "connected" },
      [
        ["preference", []],
        ["Preferences", ["a"]]
      ],
      { language: "simple" }
    )
  ),

  "a collection in another language finds its words by their stems": Effect.forEach(
    [
      ["german", "Die Häuser am Fluss", "haus", "Welche Häusern gibt es"],
      ["french", "Il mangeait des réseaux", "manger", "où sont les reseaux"],
      ["spanish", "Las investigaciones continúan", "investigación", "continuar"],
      ["russian", "Новые книги", "книга", "о книгах"],
      ["portuguese", "Moro nas cidades", "cidade", "em que cidade"],
      ["italian", "I ragazzi giocano", "ragazzo", "giocare"],
      ["dutch", "Oude huizen", "huizen", "de OUDE"],
      ["swedish", "Bilarna kör", "bil", "bilar"],
      ["finnish", "Asumme talossa", "talo", "talot"],
      ["hungarian", "Könyvekben olvasta", "könyv", "konyvek"],
      ["danish", "Bøgerne er nye", "bøger", "BØGER"],
      ["norwegian", "Husene er nye", "hus", "huset"],
      ["romanian", "Orașele mari", "oraș", "ORAȘELE"]
    ] as const,
    ([language, text, ...questions]) =>
      finds(
        { a: text, b: "something else", c: "日本語の説明書" },
        [...questions.map((question) => [question, ["a"]] as const), ["説明", ["c"]]],
        { language }
      ),
    { discard: true }
  ),

  "words that only build sentences in a language count if there are no others": finds(
    { a: "der Hund und die Katze", b: "die Nacht", c: "das Haus" },
    [
      ["und die Katze", ["a"]],
      ["und der", ["a"]]
    ],
    { language: "german" }
  ),

  "trigram finds any part of a word, also a short one, and nothing that only has its letters": finds(
    {
      a: "The substation's transformer",
      b: "status of a nation",
      c: "const searchVectors = find_all(Ünïcode)",
      d: "この説明書は東京で作られました",
      e: "red 🚀 ab"
    },
    [
      ["STATION", ["a"]],
      ["former", ["a"]],
      ["stat", ["b", "a"]],
      ["vector", ["c"]],
      ["chve", ["c"]],
      ["nico", ["c"]],
      ["説明", ["d"]],
      ["東", ["d"]],
      ["説明書は東京", ["d"]],
      ["ed", ["e"]],
      ["b", ["e", "a"]],
      ["🚀", ["e"]],
      ["stations", []],
      ["absent searchvectors", ["c"]]
    ],
    { language: "trigram" }
  ),

  "trigram, advanced: all words, parts side by side over words, exclusions": finds(
    { a: "the red fishes swim", b: "red herring, fish", c: "fishes that are bored" },
    [
      ["red fish", ["b", "a", "c"]],
      [`"red fish"`, ["a"]],
      [`"ed fi"`, ["a"]],
      ["fish -herring", ["a", "c"]],
      [`fish -"red f"`, ["b", "c"]],
      ["herr OR bor", ["b", "c"]]
    ],
    { language: "trigram", syntax: "advanced" }
  ),

  "trigram finds what is far into a long text, and marks what was looked for": withCollection(
    {},
    (store, collection) =>
      Effect.gen(function* () {
        const filler = "the theme of these other weathers ".repeat(7_000)
        yield* store.insertMany(collection, [
          { id: "long", text: `${filler}a needlework` },
          { id: "far", text: `${filler}need edle` },
          {
            id: "ideographs",
            text: Array.from({ length: 80_000 }, (_, i) => String.fromCodePoint(0x4e00 + ((i * 7919) % 20_000))).join(
              ""
            )
          }
        ])
        const [hit, ...others] = yield* store.search(collection, "needle")
        yield* equal(others, [])
        const parts = hit?.highlights.map(({ end, start }) => hit.text.slice(start, end))
        yield* equal([hit?.id, parts], ["long", ["needle"]])
      }),
    { language: "trigram" }
  ),

  "however many texts only look like it, those that have the part are found": withCollection(
    Object.fromEntries([
      ...Array.from({ length: 60 }, (_, i) => [`near${i}`, "status nation"]),
      ...Array.from({ length: 3 }, (_, i) => [`has${i}`, `a station with ${"more and more words ".repeat(9)}`])
    ]),
    (store, collection) =>
      Effect.gen(function* () {
        yield* equal(idsOf(yield* store.search(collection, "station", { limit: 2 })), ["has0", "has1"])
        yield* equal(idsOf(yield* store.search(collection, "station", { limit: 10 })), ["has0", "has1", "has2"])
      }),
    { language: "trigram" }
  ),

  "case, accents and width do not matter": finds({ a: "Café Zürich", b: "ＡＢＣ" }, [
    ["CAFE", ["a"]],
    ["zurich", ["a"]],
    ["abc", ["b"]]
  ]),

  "Japanese, Chinese and Thai are found without spaces, down to one character": finds(
    { ja: "この説明書は東京で作られました。", zh: "我喜欢喝绿茶", th: "ฉันชอบชาเขียว", en: "manual" },
    [
      ["説明", ["ja"]],
      ["説明書", ["ja"]],
      ["東京", ["ja"]],
      ["書", ["ja"]],
      ["绿茶", ["zh"]],
      ["茶", ["zh"]],
      ["ชอบ", ["th"]],
      ["英語", []]
    ]
  ),

  "a question of grammar alone still finds": finds({ a: "to be or not to be", b: "elsewhere" }, [
    ["to be or not to be", ["a"]]
  ]),

  "pictographs are found": finds({ a: "shipped 🚀 today", b: "nothing" }, [["🚀", ["a"]]]),

  "no text that is looked for is an error, in either syntax": withCollection(
    { a: "what is new in C++ and foo bar" },
    (store, collection) =>
      Effect.gen(function* () {
        for (const syntax of ["plain", "advanced"] as const) {
          for (const text of awkward) yield* store.search(collection, text, { syntax })
        }
        yield* property(FastCheck.string({ unit: "binary" }), (text) =>
          Effect.asVoid(
            Effect.zip(store.search(collection, text), store.search(collection, text, { syntax: "advanced" }))
          )
        )
      })
  ),

  "signs and operators of engines mean nothing in plain text": finds({ a: "alpha", b: "beta", c: "and or not near" }, [
    ["alpha AND beta", ["a", "b"]],
    ['-alpha "', ["a"]],
    ["terms:alpha", ["a"]],
    ["alph*", []],
    ["foo-beta", ["b"]],
    ["!beta", ["b"]]
  ]),

  "every text that can be stored can be indexed": withCollection({}, (store, collection) =>
    Effect.gen(function* () {
      const storable = awkward.filter((text) => text.isWellFormed() && !text.includes("\u0000"))
      yield* store.insertMany(
        collection,
        storable.map((text, i) => ({ id: `${i}`, text }))
      )
      yield* equal(yield* store.count(collection), storable.length)
      yield* property(
        FastCheck.string({ unit: "grapheme" }).filter((text) => !text.includes("\u0000")),
        (text) =>
          Effect.gen(function* () {
            yield* store.insert(collection, { id: "sample", text })
            yield* equal((yield* store.get(collection, ["sample"]))[0]?.text, text)
          })
      )
      yield* store.insert(collection, { id: "long", text: "説明書東京".repeat(17_000) })
      yield* failsWith("InvalidInput", store.insert(collection, { id: "x", text: "x".repeat(262_145) }))
      yield* failsWith("InvalidInput", store.insert(collection, { id: "x", text: "\u0000" }))
    })
  ),

  "advanced: all words, phrases, exclusions, alternatives, prefixes": finds(
    {
      a: "vector search in sqlite",
      b: "search for a vector in mysql",
      c: "postgresql only",
      d: "この説明書",
      e: "one", // Enough others, so that no word is in half of them.
      f: "two",
      g: "three",
      h: "four"
    },
    [
      [`"vector search"`, ["a"]],
      [`vector -mysql`, ["a"]],
      [`vector -"search in"`, ["b"]],
      [`sqlite OR postgresql`, ["c", "a"]],
      [`vector sqlite`, ["a"]],
      [`postgr*`, ["c"]],
      [`"vector sea*`, []],
      [`説明書`, ["d"]],
      [`-vector`, []],
      [`"unclosed phrase`, []]
    ],
    { syntax: "advanced" }
  ),

  "highlights are the places in the text that were looked for": withCollection(
    { a: "She prefers tea 😀 and この説明書" },
    (store, collection) =>
      Effect.gen(function* () {
        const [hit] = yield* store.search(collection, "preference 説明書 absent")
        const parts = hit?.highlights.map(({ end, start }) => hit.text.slice(start, end))
        yield* equal(parts, ["prefers", "説明書"])
      })
  ),

  "however many of many match a filter, it takes nothing from the best of those that do": Effect.gen(function* () {
    const store = yield* TextStore
    const collection = yield* fresh("texts")
    yield* store.createCollection(collection)
    const words = ["apple", "birch", "cedar", "dates"]
    // Few different texts, so that many scores are equal; ids in another order than the records.
    const records = Array.from({ length: 1000 }, (_, i) => ({
      id: `r${(i * 377) % 1000}`,
      text: words.flatMap((word, at) => Array<string>((i >> at) % 3).fill(word)).join(" "),
      metadata: { n: i, half: i % 2, tenth: i % 10, few: i % 250 }
    }))
    yield* store.insertMany(collection, records)
    const filters: ReadonlyArray<FilterInput> = [
      { n: { $gte: 0 } },
      { half: 1 },
      { tenth: 3 },
      { $or: [{ tenth: 3 }, { few: 4 }] },
      { few: 7 },
      { n: { $gte: 990 } },
      { n: { $lt: 40 } },
      { n: 17 },
      { n: -1 }
    ]
    for (const text of ["apple", "birch dates", words.join(" ")]) {
      const all = yield* store.search(collection, text, { limit: 1000 })
      for (const filter of filters) {
        const matches = Filter.matches(yield* Filter.parse(filter))
        const best = all.filter(({ metadata }) => matches(metadata))
        for (const limit of [1, 3, 10, 100]) {
          const found = yield* store.search(collection, text, { filter, limit })
          yield* equal(idsOf(found), idsOf(best.slice(0, limit)), JSON.stringify({ text, filter, limit }))
        }
      }
    }
  }),

  "scores are those of BM25, within the collection, and filters take nothing from them": Effect.gen(function* () {
    const store = yield* TextStore
    const collection = yield* fresh("scores")
    yield* store.createCollection(collection)
    const sample = FastCheck.tuple(records, FastCheck.uniqueArray(word, { minLength: 1, maxLength: 4 }))
    yield* property(sample, ([given, wanted]) =>
      Effect.gen(function* () {
        yield* store.deleteWhere(collection, {})
        const named = given.map((each, i) => ({ ...each, id: `r${i}`, metadata: { n: each.n } as JsonObject }))
        yield* store.insertMany(
          collection,
          named.map(({ id, metadata, text }) => ({ id, metadata, text: text.join(" ") }))
        )
        const all = named.map(({ text }) => text)
        for (const filter of [{}, { n: { $gte: 2 } }, { n: 9 }]) {
          const matches = Filter.matches(yield* Filter.parse(filter))
          const expected = named
            .filter(({ metadata, text }) => matches(metadata) && wanted.some((word) => text.includes(word)))
            .map(({ id, text }) => ({ id, score: bm25(text, all, wanted) }))
          const scores = new Map(expected.map(({ id, score }) => [id, score]))
          const hits = yield* store.search(collection, wanted.join(" "), { filter, limit: 5 })
          const best = expected.map(({ score }) => score).sort((a, b) => b - a)
          NodeAssert.equal(hits.length, Math.min(5, expected.length))
          hits.forEach((hit, i) => {
            NodeAssert.ok(Math.abs(hit.bm25 - scores.get(hit.id)!) < 1e-9, `${hit.bm25}, not ${scores.get(hit.id)}`)
            NodeAssert.ok(Math.abs(hit.bm25 - best[i]!) < 1e-9, `rank ${i}: ${hit.bm25}, not ${best[i]}`)
            const before = hits[i - 1]
            NodeAssert.ok(before === undefined || before.bm25 > hit.bm25 || before.id < hit.id)
          })
        }
      })
    )
  }),

  "phrases, exclusions and alternatives are scored by their words, as the plain definition says": Effect.gen(
    function* () {
      const store = yield* TextStore
      const collection = yield* fresh("phrases")
      yield* store.createCollection(collection, { language: "simple" })
      const alternative = FastCheck.record({
        all: FastCheck.uniqueArray(word, { minLength: 1, maxLength: 2 }),
        phrase: FastCheck.option(FastCheck.tuple(word, word)),
        none: FastCheck.option(word)
      })
      const sample = FastCheck.tuple(records, FastCheck.array(alternative, { minLength: 1, maxLength: 2 }))
      yield* property(sample, ([given, query]) =>
        Effect.gen(function* () {
          yield* store.deleteWhere(collection, {})
          const all = given.map(({ text }) => text)
          yield* store.insertMany(
            collection,
            all.map((text, i) => ({ id: `r${i}`, text: text.join(" ") }))
          )
          const question = query
            .map(({ all, none, phrase }) =>
              [
                ...all,
                ...(phrase === null ? [] : [`"${phrase.join(" ")}"`]),
                ...(none === null ? [] : [`-${none}`])
              ].join(" ")
            )
            .join(" OR ")
          const wanted = new Set(query.flatMap(({ all, phrase }) => [...all, ...(phrase ?? [])]))
          const isMatch = (text: ReadonlyArray<string>) =>
            query.some(
              ({ all, none, phrase }) =>
                all.every((word) => text.includes(word)) &&
                (none === null || !text.includes(none)) &&
                (phrase === null || text.some((word, i) => word === phrase[0] && text[i + 1] === phrase[1]))
            )
          const expected = all.flatMap((text, i) =>
            isMatch(text) ? [[`r${i}`, bm25(text, all, wanted)] as const] : []
          )
          const hits = yield* store.search(collection, question, { syntax: "advanced", limit: 100 })
          yield* equal(hits.map(({ id }) => id).sort(), expected.map(([id]): string => id).sort(), question)
          const scores = new Map<string, number>(expected)
          for (const { bm25, id } of hits) {
            NodeAssert.ok(Math.abs(bm25 - scores.get(id)!) < 1e-9, `${question}: ${bm25}, not ${scores.get(id)}`)
          }
        })
      )
    }
  ),

  "however many writers replace and delete at once, scores are those of what is left": Effect.gen(function* () {
    const store = yield* TextStore
    const collection = yield* fresh("writers")
    yield* store.createCollection(collection, { language: "simple" })
    const ids = Array.from({ length: 12 }, (_, i) => `r${i}`)
    const textOf = (id: string, writer: number) => [...words, ...words].slice(Number(id.slice(1)) % 5, 6 + writer)
    yield* Effect.forEach(
      Array.from({ length: 90 }, (_, writer) => writer),
      (writer) => {
        const some = ids.filter((_, i) => (i + writer) % 3 !== 0)
        return writer % 4 === 3
          ? store.delete(collection, some)
          : store.insertMany(
              collection,
              some.map((id) => ({ id, text: textOf(id, writer % 4).join(" ") }))
            )
      },
      { concurrency: 4, discard: true }
    )
    yield* store.insert(collection, { id: "last", text: "stone" })
    yield* store.delete(collection, ["r0"])
    const left = (yield* store.get(collection, [...ids, "last"])).map(({ id, text }) => ({ id, text: text.split(" ") }))
    const expected = new Map(
      left.map(({ id, text }) => [
        id,
        bm25(
          text,
          left.map((each) => each.text),
          words
        )
      ])
    )
    const hits = yield* store.search(collection, words.join(" "), { limit: 100 })
    yield* equal(hits.map(({ id }) => id).sort(), [...expected.keys()].sort())
    for (const { bm25, id } of hits) NodeAssert.ok(Math.abs(bm25 - expected.get(id)!) < 1e-9, `${id}: ${bm25}`)
  }),

  "a record is replaced, deleted and counted": withCollection({ a: "old words", b: "other" }, (store, collection) =>
    Effect.gen(function* () {
      yield* store.insert(collection, { id: "a", text: "new words", metadata: { n: 1 } })
      yield* equal(idsOf(yield* store.search(collection, "old")), [])
      yield* equal(idsOf(yield* store.search(collection, "new")), ["a"])
      yield* equal(yield* store.get(collection, ["b", "none", "a"]), [
        { id: "b", text: "other", metadata: {} },
        { id: "a", text: "new words", metadata: { n: 1 } }
      ])
      yield* equal([yield* store.count(collection), yield* store.count(collection, { n: 1 })], [2, 1])
      yield* equal(yield* store.delete(collection, ["b", "none"]), 1)
      yield* equal(yield* store.deleteWhere(collection, { n: 1 }), 1)
      yield* equal(yield* store.search(collection, "new words other"), [])
    })
  ),

  "add takes new records only, all or none": withCollection({ a: "word" }, (store, collection) =>
    Effect.gen(function* () {
      yield* store.add(collection, [
        { id: "b", text: "word here", metadata: { n: 1 } },
        { id: "c", text: "word there" }
      ])
      yield* store.add(collection, [])
      yield* equal(idsOf(yield* store.search(collection, "here there")), ["b", "c"])
      const again = [
        { id: "d", text: "word" },
        { id: "b", text: "other" }
      ]
      yield* failsWith("DbConflict", store.add(collection, again))
      yield* failsWith("InvalidInput", store.add(collection, [{ id: "", text: "word" }]))
      yield* failsWith("NotFound", store.add(`${collection}x`, again))
      yield* equal(yield* store.count(collection), 3)
      yield* equal(idsOf(yield* store.search(collection, "other")), [])
    })
  ),

  "insertMany is all or nothing, and refuses an id twice": withCollection({}, (store, collection) =>
    Effect.gen(function* () {
      const good = { id: "a", text: "good" }
      yield* failsWith("InvalidInput", store.insertMany(collection, [good, { id: "", text: "bad" }]))
      yield* failsWith("InvalidInput", store.insertMany(collection, [good, good]))
      yield* failsWith("InvalidInput", store.search(collection, "good", { limit: 0 }))
      yield* equal(yield* store.count(collection), 0)
    })
  ),

  "texts belong to the transaction they are written in": withCollection({ a: "outside" }, (store, collection) =>
    Effect.gen(function* () {
      const backend = yield* Backend
      yield* Effect.ignore(
        backend.transaction(
          Effect.gen(function* () {
            yield* store.insert(collection, { id: "b", text: "inside" })
            yield* store.delete(collection, ["a"])
            yield* equal(idsOf(yield* store.search(collection, "inside outside")), ["b"])
            return yield* Effect.fail("undo")
          })
        )
      )
      yield* equal(idsOf(yield* store.search(collection, "inside outside")), ["a"])
    })
  ),

  "a collection keeps its language, is listed, and dropped is empty when made anew": withCollection(
    { a: "word" },
    (store, collection) =>
      Effect.gen(function* () {
        yield* store.createCollection(collection, { language: "english" })
        yield* failsWith("DbConflict", store.createCollection(collection, { language: "simple" }))
        yield* failsWith("InvalidInput", store.createCollection(collection, { language: "klingon" as never }))
        const listed = (yield* store.collections).find(({ name }) => name === collection)
        yield* equal(listed, { name: collection, language: "english", count: 1 })
        yield* store.dropCollection(collection)
        yield* failsWith("NotFound", store.search(collection, "word"))
        yield* failsWith("NotFound", store.insert(collection, { id: "a", text: "word" }))
        yield* store.createCollection(collection, { language: "simple" })
        yield* equal(yield* store.search(collection, "word"), [])
      })
  ),

  "two collections made at once under one name are one": Effect.gen(function* () {
    const store = yield* TextStore
    const collection = yield* fresh("race")
    yield* Effect.all(
      Array.from({ length: 4 }, () => store.createCollection(collection)),
      { concurrency: "unbounded" }
    )
    yield* store.insert(collection, { id: "a", text: "word" })
    yield* equal(idsOf(yield* store.search(collection, "word")), ["a"])
  })
}
