import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import { Chunking } from "../../src/vector/index.js"

const chunk = (text: string, options?: Chunking.ChunkOptions) => Either.getOrThrow(Chunking.chunk(text, options))

const words = FastCheck.constantFrom(
  "one",
  "two",
  "three",
  "説明書はどこですか",
  "été",
  "😀",
  "```",
  "# ",
  "x".repeat(50)
)
const separators = FastCheck.constantFrom(" ", "\n", "\n\n", "\n```\n", "\n# ", "\n## ", "  ", "\t")
const text = FastCheck.array(FastCheck.tuple(words, separators), { maxLength: 120 }).map((parts) =>
  parts.flat().join("")
)
const options = FastCheck.integer({ min: 1, max: 40 }).chain((size) =>
  FastCheck.record({
    size: FastCheck.constant(size),
    overlap: FastCheck.integer({ min: 0, max: size - 1 }),
    unit: FastCheck.constantFrom("words" as const, "tokens" as const)
  })
)

describe("Chunking", () => {
  it("chunks are parts of the text, cover all but blanks, and none lies within another", () => {
    FastCheck.assert(
      FastCheck.property(text, options, (text, options) => {
        const chunks = chunk(text, options)
        let covered = 0
        chunks.forEach((each, i) => {
          assert.strictEqual(each.text, text.slice(each.start, each.end))
          assert.isTrue(each.text.isWellFormed() && each.text.trim() !== "")
          assert.isTrue(text.slice(covered, Math.max(covered, each.start)).trim() === "")
          const before = chunks[i - 1]
          if (before !== undefined) assert.isTrue(each.start > before.start && each.end > before.end)
          covered = each.end
        })
        assert.strictEqual(text.slice(covered).trim(), "")
      }),
      { numRuns: 500 }
    )
  })

  it("no chunk counts more than asked for by a function, unless it is one word", () => {
    const counts = FastCheck.constantFrom(
      (text: string) => text.length,
      (text: string) => text.split(/(?=\s)/).length,
      (text: string) => text.trim().length / 3
    )
    FastCheck.assert(
      FastCheck.property(text, options, counts, (text, options, unit) => {
        for (const each of chunk(text, { ...options, unit })) {
          if (unit(each.text) > options.size) assert.match(each.text, /^\S{1,64}$/u)
        }
      })
    )
  })

  it("an unknown unit, and a function that counts nonsense, are refused", () => {
    const nonsense = [Number.NaN, -1, Number.POSITIVE_INFINITY].map((n) => () => n)
    for (const unit of [...nonsense, "chars" as "words"]) {
      const refused = Chunking.chunk("one two", { unit })
      assert.deepInclude(Either.getOrThrow(Either.flip(refused)), { _tag: "InvalidInput", field: "unit" })
    }
  })

  it("no chunk has more words than asked for", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(FastCheck.constantFrom("a", "bb", "\n", "\n\n")),
        options,
        (parts, options) => {
          for (const { text } of chunk(parts.join(" "), { ...options, unit: "words" })) {
            assert.isAtMost(text.split(/\s+/).filter((word) => word !== "").length, options.size)
          }
        }
      )
    )
  })

  it("a text that fits is one chunk as it stands; one of blanks is none", () => {
    const text = "# Title\n\n  indented\n\ttabbed  line\n"
    assert.deepStrictEqual(chunk(text), [{ text: text.trimEnd(), start: 0, end: text.length - 1, headings: ["Title"] }])
    assert.deepStrictEqual([chunk(""), chunk(" \n\t ")], [[], []])
  })

  it("the last chunk brings something new, whatever the length", () => {
    for (let length = 700; length < 900; length++) {
      const chunks = chunk("word ".repeat(length), { size: 400, overlap: 60 })
      const last = chunks[chunks.length - 1]!
      assert.isAbove(last.end, chunks[chunks.length - 2]!.end)
    }
  })

  it("text without spaces is cut too", () => {
    const chunks = chunk("説明書はどこにありますか。".repeat(100), { size: 100, overlap: 10 })
    assert.isAbove(chunks.length, 10)
    for (const { text } of chunks) assert.isAtMost(Array.from(text).length, 110)
  })

  it("cuts before headings, and tells under which a chunk stands", () => {
    const section = (title: string, n: number) => `${title}\n${"word ".repeat(n)}\n`
    const text = section("# Guide", 10) + section("## Install", 70) + section("## Use", 60)
    const chunks = chunk(text, { size: 100, overlap: 20 })
    assert.deepStrictEqual(
      chunks.map(({ headings, text }) => [text.split("\n")[0], headings.join(" > ")]),
      [
        ["# Guide", "Guide"],
        ["## Use", "Guide > Use"]
      ]
    )
  })

  it("a tab after its signs makes a heading as a blank does", () => {
    assert.deepStrictEqual(
      chunk("# Guide\n##\tUse\nwords", { size: 2, overlap: 0 }).map(({ headings }) => headings),
      [["Guide"], ["Guide", "Use"], ["Guide", "Use"]]
    )
  })

  it("a code fence that fits is not cut", () => {
    const code = `\`\`\`ts\n${"const a = 1\n".repeat(8)}\`\`\``
    const text = `${"word ".repeat(75)}\n\n${code}\n\n${"word ".repeat(50)}`
    const chunks = chunk(text, { size: 100, overlap: 0 })
    assert.isTrue(chunks.some(({ text }) => text.includes(code)))
  })

  it("no code fence that fits is cut, and of one that does not the tail is repeated only where it is cut", () => {
    const parts = FastCheck.constantFrom(
      "one ",
      "two\n",
      "three four\n",
      "\n\n",
      "```ts\n",
      "```\n",
      "~~~\n",
      "# Title\n"
    )
    const few = FastCheck.record({
      size: FastCheck.integer({ min: 1, max: 16 }),
      overlap: FastCheck.integer({ min: 0, max: 15 })
    }).filter(({ overlap, size }) => overlap < size)
    const fencesOf = (text: string) => {
      const fences: Array<{ start: number; end: number; words: number }> = []
      let [at, open] = [0, undefined as { mark: string; start: number } | undefined]
      const close = (start: number, end: number) =>
        fences.push({
          start,
          end,
          words: text
            .slice(start, end)
            .split(/\s+/)
            .filter((word) => word !== "").length
        })
      for (const line of text.split(/(?<=\n)/)) {
        const [, mark, rest = ""] = /^(```|~~~)(.*)/.exec(line) ?? []
        if (open === undefined && mark !== undefined) open = { mark, start: at }
        else if (open !== undefined && mark === open.mark && rest === "") {
          close(open.start, at + mark.length)
          open = undefined
        }
        at += line.length
      }
      if (open !== undefined) close(open.start, text.trimEnd().length)
      return fences
    }
    FastCheck.assert(
      FastCheck.property(FastCheck.array(parts, { maxLength: 60 }), few, (parts, options) => {
        const text = parts.join("")
        const chunks = chunk(text, options)
        for (const { end, start, words } of fencesOf(text)) {
          chunks.forEach((each, i) => {
            const touches = each.start < end && each.end > start
            if (words <= options.size && touches) assert.isTrue(each.start <= start && each.end >= end)
            if (each.start > start && each.start < end) assert.isBelow(chunks[i - 1]!.end, end)
          })
        }
      }),
      { numRuns: 2000 }
    )
  })

  it("a fence is closed by its like alone, and what is in it is no heading", () => {
    const text = `# Real\n\n\`\`\`sh\n# comment\n\`\`\`js\n# another\n\`\`\`\n\n${"word ".repeat(30)}`
    for (const { headings } of chunk(text, { size: 10, overlap: 0 })) assert.deepStrictEqual(headings, ["Real"])
  })

  it("what has no blanks, and what has nothing else, is cut too", () => {
    for (const unit of ["words", "tokens"] as const) {
      const encoded = chunk("data:image/png;base64,".concat("iVBORw0KGgo".repeat(20_000)), { size: 100, unit })
      for (const { text } of encoded) assert.isAtMost(text.length, 100 * 64)
      const gap = chunk(`before${" ".repeat(300_000)}after`, { size: 100, unit })
      for (const { text } of gap) assert.isAtMost(text.length, 101 * 64)
      assert.deepStrictEqual([gap[0]?.text, gap[gap.length - 1]?.text.trim()], ["before", "after"])
    }
  })

  it("cuts characters of many bytes between them, wherever the cut falls", () => {
    for (const character of ["説", "😀", "é", "ก", "한"]) {
      for (let size = 1; size < 12; size++) {
        const chunks = chunk(character.repeat(1000), { size, overlap: Math.floor(size / 2) })
        assert.isTrue(chunks.every(({ text }) => text.isWellFormed()))
        const covered = chunks.reduce((end, each) => (each.start <= end ? Math.max(end, each.end) : end), 0)
        assert.strictEqual(covered, character.length * 1000)
      }
    }
  })

  it("a change in one section leaves the chunks of the others as they were", () => {
    const sections = Array.from(
      { length: 12 },
      (_, n) => `## Section ${n}\n\n${Array.from({ length: 60 + n }, (_, i) => `word${n}x${i}`).join(" ")}\n\n`
    )
    const before = new Set(chunk(sections.join(""), { size: 100, overlap: 20 }).map(({ text }) => text))
    const changed = sections.map((section, n) =>
      n === 5 ? section.replace("word5x7 ", "an added word or two ") : section
    )
    const after = chunk(changed.join(""), { size: 100, overlap: 20 })
    assert.strictEqual(after.filter(({ text }) => !before.has(text)).length, 1)
  })

  it("an overlap as large as the chunk, and a size of none, are refused", () => {
    for (const options of [{ size: 0 }, { size: 10, overlap: 10 }, { size: 1.5 }, { overlap: -1 }]) {
      const result = Chunking.chunk("text", options)
      assert.isTrue(Either.isLeft(result) && result.left._tag === "InvalidInput")
    }
  })
})
