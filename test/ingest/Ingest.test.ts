import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type DbError, EmbeddingError } from "../../src/errors/index.js"
import * as IngestLive from "../../src/layers/ingest/IngestLive.js"
import * as Postgres from "../../src/layers/postgres/Postgres.js"
import * as SearchLive from "../../src/layers/search/SearchLive.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import type { BackendShape } from "../../src/services/Backend.js"
import type { EmbeddingsShape } from "../../src/services/Embeddings.js"
import type { IngestOptions, IngestReport } from "../../src/services/Ingest.js"
import { drawn } from "../support/drawnEmbeddings.js"
import { temporaryFolder } from "../support/index.js"
import { noServer, optionsFor, temporaryDatabase } from "../support/postgres.js"

type Open = (folder: string) => Effect.Effect<BackendShape, DbError, Scope.Scope>

const onSqlite: Open = (folder) => Sqlite.make({ path: NodePath.join(folder, "hub.db") })

const onPostgres: Open = () => Effect.flatMap(temporaryDatabase, (database) => Postgres.make(optionsFor(database)))

/** A folder of files and a hub beside it; `asked` are the texts that the model was asked for. */
const place = (open: Open = onSqlite) =>
  Effect.gen(function* () {
    const at = yield* temporaryFolder
    const root = NodeFs.realpathSync(at)
    const folder = NodePath.join(root, "files")
    NodeFs.mkdirSync(folder)
    const hub = yield* open(root)
    const asked: Array<string> = []
    const down = { down: false, failures: 0 }
    const failure = (message: string, status?: number) =>
      new EmbeddingError({
        operation: "test",
        message,
        reason: "refused",
        model: "model",
        ...(status === undefined ? {} : { status })
      })
    const refusing: { word: string | undefined } = { word: undefined }
    const model: EmbeddingsShape = {
      ...drawn("model", 24),
      embedMany: (texts) =>
        Effect.suspend(() => {
          if (down.down) {
            down.failures += 1
            return Effect.fail(failure("down"))
          }
          const { word } = refusing
          if (word !== undefined && texts.some((text) => text.includes(word))) {
            return Effect.fail(failure(`refused ${texts.length === 1 ? "one" : "some"}`, 400))
          }
          return drawn("model", 24, (texts) => Effect.sync(() => void asked.push(...texts))).embedMany(texts)
        })
    }
    const search = SearchLive.make(hub, model)
    const ingest = IngestLive.make(hub, search, true)
    return {
      folder,
      root,
      hub,
      asked,
      down,
      refusing,
      search,
      write: (path: string, content: string | Uint8Array) => {
        const file = NodePath.join(folder, path)
        NodeFs.mkdirSync(NodePath.dirname(file), { recursive: true })
        NodeFs.writeFileSync(file, content)
      },
      remove: (path: string) => NodeFs.rmSync(NodePath.join(folder, path), { recursive: true }),
      ingest: (options?: IngestOptions) => ingest.folder(folder, options),
      removeAll: () => ingest.remove(folder),
      paths: (text: string) =>
        Effect.map(search.search("documents", { text, mode: "text" }), ({ results }) =>
          results.map(({ metadata }) => `${metadata["path"]}:${metadata["line"]}`)
        )
    }
  })

const counts = ({ added, changed, removed, unchanged }: IngestReport) => ({ added, changed, removed, unchanged })

describe("ingesting a folder", { timeout: 60_000 }, () => {
  it.scopedLive("a collection keeps the language that it was made in", () =>
    Effect.gen(function* () {
      const { ingest, paths, write } = yield* place()
      write("a.txt", "Die Häuser am Fluss")
      yield* ingest({ language: "german" })
      write("b.txt", "Ein Haus am See")
      yield* ingest()
      assert.sameMembers([...(yield* paths("Haus"))], ["a.txt:1", "b.txt:1"])
      const error = yield* Effect.flip(ingest({ language: "french" }))
      assert.strictEqual(error._tag, "DbConflict")
    })
  )

  it.scopedLive("text of every kind is found, with its file and line, and by its vector", () =>
    Effect.gen(function* () {
      const { asked, folder, ingest, paths, search, write } = yield* place()
      write("guide.md", "# Guide\n\nIntro.\n\n## Backups\n\nBackups run every night.\n")
      write("data/list.json", '{\n  "fruit": "apple"\n}\n')
      write("src/main.ts", "// entry\nexport const answer = 42\n")
      write("empty.txt", "")
      write("日本.txt", "説明書はどこにありますか。\n")
      const report = yield* ingest()
      assert.deepStrictEqual(report, {
        collection: "documents",
        folder,
        added: 5,
        changed: 0,
        unchanged: 0,
        removed: 0,
        moved: 0,
        skipped: [],
        chunks: 4,
        embedded: 4,
        pending: 0,
        refused: []
      })
      assert.deepStrictEqual(yield* paths("apple"), ["data/list.json:1"])
      assert.deepStrictEqual(yield* paths("説明書"), ["日本.txt:1"])
      const answer = yield* search.search("documents", {
        text: asked.find((text) => text.includes("42")) ?? "",
        limit: 1
      })
      const [found] = answer.results
      assert.deepStrictEqual(
        [answer.mode, found?.vectorRank, found?.metadata],
        ["hybrid", 1, { folder, path: "src/main.ts", line: 1, endLine: 2, headings: [] }]
      )
    })
  )

  const onlyWhatChanged = (open: Open) =>
    Effect.gen(function* () {
      const { asked, hub, ingest, paths, remove, write } = yield* place(open)
      const section = (n: number) =>
        `## Part ${n}\n\n${Array.from({ length: 150 }, (_, i) => `w${n}x${i}`).join(" ")}\n\n`
      const parts = Array.from({ length: 6 }, (_, n) => section(n))
      write("long.md", parts.join(""))
      write("same.txt", "stays as it is")
      write("old/gone.txt", "will be deleted")
      assert.deepStrictEqual(counts(yield* ingest()), { added: 3, changed: 0, removed: 0, unchanged: 0 })
      const all = asked.length

      asked.length = 0
      const again = yield* ingest()
      assert.deepStrictEqual(counts(again), { added: 0, changed: 0, removed: 0, unchanged: 3 })
      assert.deepStrictEqual([again.chunks, again.embedded, asked], [all, 0, []])

      write(
        "long.md",
        ["A new beginning.\n\n", ...parts.map((part, n) => (n === 3 ? part.replace("w3x7", "changed") : part))].join("")
      )
      remove("old")
      const changed = yield* ingest()
      assert.deepStrictEqual(counts(changed), { added: 0, changed: 1, removed: 1, unchanged: 1 })
      assert.strictEqual(asked.length, 2)
      assert.isTrue(asked.some((text) => text.includes("changed")) && asked.some((text) => text.includes("beginning")))
      assert.deepStrictEqual(yield* paths("deleted"), [])
      assert.deepStrictEqual(yield* paths("w3x7"), [])
      assert.deepStrictEqual(yield* paths("w5x7"), ["long.md:23"])
      assert.strictEqual(yield* hub.text.count("documents"), changed.chunks)
      assert.strictEqual(yield* hub.vector.count("documents"), changed.chunks)
    })

  it.scopedLive("only what changed is embedded and written again; what is gone is deleted", () =>
    onlyWhatChanged(onSqlite)
  )

  it.scopedLive.skipIf(noServer)("and so it is on PostgreSQL", () => onlyWhatChanged(onPostgres))

  it.scopedLive("what is no text, too large, a link or ignored is left out, and said", () =>
    Effect.gen(function* () {
      const { folder, ingest, paths, root, write } = yield* place()
      NodeFs.mkdirSync(NodePath.join(root, ".git"))
      NodeFs.writeFileSync(NodePath.join(root, ".gitignore"), "*.log\n/files/build/\n")
      NodeFs.writeFileSync(NodePath.join(root, "outside.txt"), "secret outside")
      write(".gitignore", "generated/\n*.tmp\n!keep.log\n")
      write("deep/.gitignore", "!wanted.tmp\n/local.txt\n")
      for (const path of [
        "a.log",
        "keep.log",
        "build/out.txt",
        "generated/x.txt",
        "x.tmp",
        "deep/wanted.tmp",
        "deep/local.txt",
        "deep/er/local.txt",
        ".env",
        ".hidden/a.txt",
        "node_modules/m/index.js"
      ]) {
        write(path, `content of ${path.replace(/\W/g, "")}`)
      }
      write("image.png", new Uint8Array([0x89, 0x50, 0, 1, 2]))
      write("latin1.txt", new Uint8Array([0x63, 0x61, 0x66, 0xe9]))
      write("large.txt", "x".repeat(1001))
      NodeFs.symlinkSync(NodePath.join(root, "outside.txt"), NodePath.join(folder, "link.txt"))
      NodeFs.symlinkSync(root, NodePath.join(folder, "up"))
      const report = yield* ingest({ maxFileSize: 1000 })
      assert.deepStrictEqual(report.skipped, [
        { path: "image.png", reason: "binary" },
        { path: "large.txt", reason: "too large" },
        { path: "latin1.txt", reason: "not UTF-8" },
        { path: "link.txt", reason: "symbolic link" },
        { path: "up", reason: "symbolic link" }
      ])
      assert.deepStrictEqual((yield* paths("content")).sort(), [
        "deep/er/local.txt:1",
        "deep/wanted.tmp:1",
        "keep.log:1"
      ])
      assert.deepStrictEqual(yield* paths("secret"), [])

      write("keep.log", new Uint8Array([0]))
      write("deep/.gitignore", "*\n")
      assert.deepStrictEqual(counts(yield* ingest()), { added: 1, changed: 0, removed: 3, unchanged: 0 })
      assert.deepStrictEqual(yield* paths("content"), [])
    })
  )

  it.scopedLive("`.gitignore` files that stand below others mean what they mean to git", () =>
    Effect.gen(function* () {
      const { ingest, paths, write } = yield* place()
      write(".gitignore", "build/\n*.out\n/top.txt\n")
      write("pac[k]/.gitignore", "\ufeff# the sources of a build\r\n!build/\r\n/local/\r\nraw/x.txt\r\n\\#sharp\r")
      for (const path of [
        "build/no.txt",
        "top.txt",
        "pac[k]/build/yes.txt",
        "pac[k]/build/no.out",
        "pac[k]/deeper/build/yes.txt",
        "pac[k]/local/no.txt",
        "pac[k]/deeper/local/yes.txt",
        "pac[k]/deeper/top.txt",
        "pac[k]/raw/x.txt",
        "pac[k]/deeper/raw/x.txt",
        "pac[k]/#sharp",
        "pack/local/yes.txt"
      ]) {
        write(path, "content")
      }
      yield* ingest()
      assert.sameMembers(
        [...(yield* paths("content"))],
        [
          "pac[k]/build/yes.txt:1",
          "pac[k]/deeper/build/yes.txt:1",
          "pac[k]/deeper/local/yes.txt:1",
          "pac[k]/deeper/top.txt:1",
          "pac[k]/deeper/raw/x.txt:1",
          "pack/local/yes.txt:1"
        ]
      )
    })
  )

  it.scopedLive.skipIf(["darwin", "win32"].includes(process.platform))("case tells ignored names apart", () =>
    Effect.gen(function* () {
      const { ingest, paths, write } = yield* place()
      write(".gitignore", "lib/\nchangelog*\n")
      for (const path of ["Lib/a.txt", "lib/b.txt", "CHANGELOG.md", "changelog.md"]) write(path, "content")
      yield* ingest()
      assert.sameMembers([...(yield* paths("content"))], ["Lib/a.txt:1", "CHANGELOG.md:1"])
    })
  )

  it.scopedLive("a model that is down loses nothing; the next run makes it up", () =>
    Effect.gen(function* () {
      const { down, hub, ingest, paths, write } = yield* place()
      write("a.txt", "apples and pears")
      down.down = true
      const first = yield* ingest()
      assert.deepStrictEqual([first.added, first.embedded, first.pending, first.failed?.reason], [1, 0, 1, "refused"])
      assert.deepStrictEqual(yield* paths("apples"), ["a.txt:1"])
      down.down = false
      const second = yield* ingest()
      assert.deepStrictEqual([second.unchanged, second.embedded, second.pending, second.failed], [1, 1, 0, undefined])
      assert.strictEqual(yield* hub.vector.count("documents"), 1)
    })
  )

  const oneRefused = (open: Open) =>
    Effect.gen(function* () {
      const { asked, folder, hub, ingest, paths, refusing, write } = yield* place(open)
      refusing.word = "poison"
      for (let i = 0; i < 20; i++) write(`a${i}.txt`, `apples of tree ${i}`)
      write("notes/bad.md", "# Bad\n\npoison ivy\n")
      const { refused, ...first } = yield* ingest()
      assert.deepStrictEqual(
        [first.added, first.embedded, first.pending, first.failed?.message],
        [21, 20, 1, "refused one"]
      )
      assert.deepStrictEqual(
        refused.map(({ error, ...place }) => ({ ...place, why: error.message })),
        [{ folder, path: "notes/bad.md", line: 1, why: "refused one" }]
      )
      assert.strictEqual(yield* hub.vector.count("documents"), 20)
      assert.deepStrictEqual(yield* paths("ivy"), ["notes/bad.md:1"])
      asked.length = 0
      const again = yield* ingest()
      assert.deepStrictEqual([again.embedded, again.pending, again.refused.length, asked.length], [0, 1, 1, 0])
      write("notes/bad.md", "harmless ivy")
      const mended = yield* ingest()
      assert.deepInclude(mended, { embedded: 1, pending: 0, refused: [] })
      assert.isUndefined(mended.failed)
    })

  it.scopedLive("a chunk that the model refuses keeps no other from its vector, and is told with its place", () =>
    oneRefused(onSqlite)
  )
  it.scopedLive.skipIf(noServer)("and so it is told on PostgreSQL", () => oneRefused(onPostgres))

  it.scopedLive(
    "a model that is down is not asked again for each group of files, and chunks that moved keep their vectors",
    () =>
      Effect.gen(function* () {
        const { down, hub, ingest, write } = yield* place()
        write("kept.md", "# Kept\n\nstays as it is\n")
        yield* ingest()
        down.down = true
        write("kept.md", "\n\n# Kept\n\nstays as it is\n")
        for (let i = 0; i < 700; i++) write(`many/${i}.txt`, `tree ${i}`)
        const report = yield* ingest()
        assert.deepStrictEqual(
          [report.added, report.changed, report.pending, report.failed?.message],
          [700, 1, 700, "down"]
        )
        assert.isAtMost(down.failures, 2)
        assert.strictEqual(yield* hub.vector.count("documents"), 1)
        down.down = false
        assert.deepInclude(yield* ingest(), { embedded: 700, pending: 0 })
      })
  )

  it.scopedLive("two folders share a collection, and a collection that was dropped is filled again", () =>
    Effect.gen(function* () {
      const { hub, ingest, paths, root, search, write } = yield* place()
      const other = NodePath.join(root, "other")
      NodeFs.mkdirSync(other)
      NodeFs.writeFileSync(NodePath.join(other, "a.txt"), "pears")
      write("a.txt", "pears")
      yield* ingest()
      const second = IngestLive.make(hub, search, true)
      yield* second.folder(other)
      assert.strictEqual((yield* paths("pears")).length, 2)
      NodeFs.rmSync(NodePath.join(other, "a.txt"))
      assert.strictEqual((yield* second.folder(other)).removed, 1)
      assert.strictEqual((yield* paths("pears")).length, 1)
      yield* search.dropCollection("documents")
      assert.deepStrictEqual(counts(yield* ingest()), { added: 1, changed: 0, removed: 0, unchanged: 0 })
      assert.strictEqual((yield* paths("pears")).length, 1)
    })
  )

  it.scopedLive("a file is in a collection once, with the folder that was ingested last", () =>
    Effect.gen(function* () {
      const { folder, hub, ingest, paths, search, write } = yield* place()
      write("a.txt", "pears")
      write("docs/b.txt", "pears")
      write("docs/deep/c.txt", "pears")
      write("docs-of-others/d.txt", "pears")
      write(".notes/e.txt", "pears")
      const within = IngestLive.make(hub, search, true)
      const ofDocs = within.folder(NodePath.join(folder, "docs"))
      assert.deepInclude(yield* ingest(), { added: 4, moved: 0 })
      assert.deepInclude(yield* ofDocs, { added: 2, moved: 2 })
      const parted = ["a.txt:1", "b.txt:1", "deep/c.txt:1", "docs-of-others/d.txt:1"]
      assert.deepStrictEqual((yield* paths("pears")).toSorted(), parted)
      assert.deepInclude(yield* ofDocs, { unchanged: 2, moved: 0 })
      // What a folder leaves out by itself stays where it was asked for.
      yield* within.folder(NodePath.join(folder, ".notes"))
      assert.deepInclude(yield* ingest(), { added: 2, unchanged: 2, moved: 2 })
      const whole = ["a.txt:1", "docs-of-others/d.txt:1", "docs/b.txt:1", "docs/deep/c.txt:1", "e.txt:1"]
      assert.deepStrictEqual((yield* paths("pears")).toSorted(), whole)
      assert.strictEqual(yield* hub.vector.count("documents"), 5)
    })
  )

  it.scopedLive("a folder is taken out with all its chunks and vectors, and what is of other folders stays", () =>
    Effect.gen(function* () {
      const { folder, hub, ingest, paths, remove, removeAll, write } = yield* place()
      write("a.txt", "the harbour")
      write("sub/b.txt", "the harbour wall")
      yield* ingest()
      yield* ingest({ collection: "other" })
      remove("sub")
      assert.deepStrictEqual(yield* removeAll(), { collection: "documents", folder, removed: 2 })
      assert.deepStrictEqual(yield* paths("harbour"), [])
      assert.strictEqual(yield* hub.vector.count("documents"), 0)
      assert.strictEqual(yield* hub.vector.count("other"), 2)
      const error = yield* Effect.flip(removeAll())
      assert.deepInclude(error, { _tag: "NotFound", entity: "folder" })
      assert.deepInclude(counts(yield* ingest()), { added: 1 })
    })
  )

  it.scopedLive("a tokenizer may count what goes into a chunk", () =>
    Effect.gen(function* () {
      const { ingest, write } = yield* place()
      write("a.txt", "one two three four")
      assert.strictEqual((yield* ingest({ chunk: { size: 4, overlap: 0 } })).chunks, 1)
      const letters = (text: string) => text.length
      const counted = yield* ingest({ chunk: { size: 9, overlap: 0, unit: letters } })
      assert.deepInclude(counted, { changed: 1, chunks: 3 })
      assert.deepInclude(yield* ingest({ chunk: { size: 9, overlap: 0, unit: letters } }), { unchanged: 1 })
    })
  )

  it.scopedLive("other sizes of chunks are cut anew, and progress goes from nothing to all", () =>
    Effect.gen(function* () {
      const { ingest, write } = yield* place()
      for (let n = 0; n < 3; n++) write(`${n}.txt`, "word ".repeat(100))
      assert.strictEqual((yield* ingest()).chunks, 3)
      const seen: Array<readonly [number, number]> = []
      const report = yield* ingest({
        chunk: { size: 50, overlap: 0 },
        onProgress: ({ done, total }) => Effect.sync(() => void seen.push([done, total]))
      })
      assert.deepStrictEqual([report.changed, report.chunks], [3, 6])
      assert.deepStrictEqual(seen, [
        [1, 3],
        [2, 3],
        [3, 3]
      ])
    })
  )

  it.scopedLive("what cannot be done is refused, before anything is written", () =>
    Effect.gen(function* () {
      const { folder, hub, ingest, search, write } = yield* place()
      write("a.txt", "a")
      const other = IngestLive.make(hub, SearchLive.make(hub, drawn("another", 24)), true)
      for (const [run, tag] of [
        [other.folder(NodePath.join(folder, "nowhere")), "InvalidInput"],
        [other.folder(NodePath.join(folder, "a.txt")), "InvalidInput"],
        [ingest({ chunk: { size: 0 } }), "InvalidInput"],
        [ingest({ maxFileSize: 0 }), "InvalidInput"],
        [ingest({ collection: "" }), "InvalidInput"]
      ] as const) {
        assert.strictEqual((yield* Effect.flip(run))._tag, tag)
      }
      assert.notInclude(
        (yield* hub.text.collections).map(({ name }) => name),
        "documents"
      )
      yield* ingest()
      const error = yield* Effect.flip(other.folder(folder))
      assert.deepInclude(error, { _tag: "ModelMismatch", expected: "model", actual: "another" })
      assert.strictEqual((yield* search.search("documents", { text: "a" })).results.length, 1)
    })
  )
})
