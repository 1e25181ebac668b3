import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { type Answer, type Asked, openAi, server } from "../embeddings/server.js"
import { temporaryFolder } from "../support/index.js"
import { cli, document, errorOf, hub } from "./support.js"

const files: Readonly<Record<string, string>> = {
  "guide/backups.md": "# Backups\n\nBackups run every night.\n\n## Restore\n\nCopy the file back.\n",
  "guide/locks.md": "# Locks\n\nA writer waits for the lock without blocking.\n",
  "src/main.ts": "export const port = 8080\n",
  "ignored.log": "backups in a log\n",
  ".gitignore": "*.log\n"
}

/** A folder with some files in `files`, and the command run in it. */
const place = Effect.map(temporaryFolder, (folder) => {
  const write = (path: string, content: string | Uint8Array) => {
    const file = NodePath.join(folder, "files", path)
    NodeFs.mkdirSync(NodePath.dirname(file), { recursive: true })
    NodeFs.writeFileSync(file, content)
  }
  for (const [path, content] of Object.entries(files)) write(path, content)
  return {
    folder,
    write,
    hub: (...args: ReadonlyArray<string>) => hub(folder, args),
    configure: (embeddings: object) =>
      NodeFs.writeFileSync(NodePath.join(folder, "db-hub.json"), JSON.stringify({ database: { hub: { embeddings } } }))
  }
})

describe("db-hub ingest and search", { timeout: 120_000 }, () => {
  it.scopedLive("go on where the tables of a new database were begun, and begin them together", () =>
    Effect.gen(function* () {
      const { hub } = yield* place
      const begun = yield* hub("migrate", "--target", "3")
      assert.strictEqual(begun.code, 0, begun.err)
      const together = yield* Effect.all([hub("ingest", "files"), hub("ingest", "files")], { concurrency: 2 })
      assert.deepStrictEqual(
        together.map(({ code, err }) => [code, err]),
        [
          [0, ""],
          [0, ""]
        ]
      )
      assert.match((yield* hub("search", "backups", "--mode", "text")).out, /backups\.md/)
    })
  )

  it.scopedLive("make a folder searchable with two commands, and keep it so", () =>
    Effect.gen(function* () {
      const { folder, hub, write } = yield* place
      const first = yield* hub("ingest", "files")
      assert.deepStrictEqual([first.code, first.err], [0, ""])
      assert.strictEqual(
        first.out,
        "documents: 3 files added, 0 changed, 0 unchanged, 0 removed; 3 chunks, 3 embedded\n"
      )

      const found = yield* hub("search", "when do backups run?", "--limit", "1")
      assert.match(
        found.out,
        /^1\. files\/guide\/backups\.md:1 › Backups {2}weighted 1\.0000\n {3}# Backups Backups run every night\./
      )
      const none = yield* hub("search", "zebra", "--mode", "text")
      assert.deepStrictEqual([none.code, none.out], [0, "nothing found\n"])
      const filtered = yield* hub("search", "backups lock", "--filter", '{"path":"guide/locks.md"}', "--json")
      const { results, ...rest } = document(filtered)
      assert.deepStrictEqual(rest, { collection: "documents", mode: "hybrid", count: 1, failed: [] })
      assert.deepInclude(results[0], { textRank: 1, vectorRank: 1 })
      assert.deepStrictEqual(results[0].metadata, {
        folder: NodeFs.realpathSync(NodePath.join(folder, "files")),
        path: "guide/locks.md",
        line: 1,
        endLine: 3,
        headings: ["Locks"]
      })
      const explained = yield* hub("search", "lock", "--explain")
      assert.match(
        explained.out,
        /^rank {2}score {3}kind {6}text rank {2}bm25 .*\n.*\n +1 .* files\/guide\/locks\.md:1\n/
      )
      assert.match(
        explained.out,
        /mode hybrid, total [\d.]+ ms, text leg [\d.]+ ms, vector leg [\d.]+ ms, of that embedding/
      )
      assert.containsAllKeys(document(yield* hub("search", "lock", "--explain", "--json")).timings, [
        "total",
        "text",
        "vector",
        "embedding"
      ])

      write("guide/locks.md", "# Locks\n\nThere are none.\n")
      write("picture.png", new Uint8Array([1, 0, 2]))
      NodeFs.rmSync(NodePath.join(folder, "files/src"), { recursive: true })
      const second = document(yield* hub("ingest", "files", "--json"))
      assert.deepStrictEqual(second, {
        collection: "documents",
        folder: NodeFs.realpathSync(NodePath.join(folder, "files")),
        added: 0,
        changed: 1,
        unchanged: 1,
        removed: 1,
        moved: 0,
        skipped: [{ path: "picture.png", reason: "binary" }],
        chunks: 2,
        embedded: 1,
        pending: 0,
        refused: [],
        failed: null
      })
      assert.strictEqual((yield* hub("search", "port", "--mode", "text")).out, "nothing found\n")
    })
  )

  it.scopedLive("take a folder out again, also when it is gone, and name the folders that there are", () =>
    Effect.gen(function* () {
      const { folder, hub } = yield* place
      yield* hub("ingest", "files/guide")
      yield* hub("ingest", "files/src")
      NodeFs.rmSync(NodePath.join(folder, "files/guide"), { recursive: true })
      const gone = yield* hub("ingest", "files/guide")
      assert.strictEqual(gone.code, 2)
      assert.match(
        gone.err,
        /^error: .*files\/guide is not there \(ENOENT\).*\nhint: `db-hub ingest --remove FOLDER` takes out .*gone\n$/
      )
      const removed = yield* hub("ingest", "--remove", "files/guide/")
      assert.deepStrictEqual([removed.out, removed.err], ["documents: 2 files removed\n", ""])
      const left = document(yield* hub("search", "backups port", "--mode", "text", "--json"))
      assert.deepStrictEqual(
        left.results.map(({ metadata }: { metadata: { path: string } }) => metadata.path),
        ["main.ts"]
      )
      const again = yield* hub("ingest", "--remove", "files/guide", "--json")
      assert.strictEqual(again.code, 1)
      assert.match(
        errorOf(again).message,
        /^Nothing of such a folder is in documents; there is what is of .*files\/src$/
      )
      const nowhere = yield* hub("ingest", "--remove", "files/guide", "--collection", "nope")
      assert.match(nowhere.err, /^error: Nothing of such a folder is in nope; there is nothing of any\n/)
    })
  )

  it.scopedLive("search says the line of what was looked for, and takes an advanced syntax", () =>
    Effect.gen(function* () {
      const { hub } = yield* place
      yield* hub("ingest", "files")
      assert.match((yield* hub("search", "restore")).out, /^1\. files\/guide\/backups\.md:5 › Backups /)
      const excluded = document(yield* hub("search", "lock -restore", "--syntax", "advanced", "--json"))
      assert.deepStrictEqual([excluded.mode, excluded.count], ["text", 1])
      assert.strictEqual((yield* hub("search", '"run night"', "--syntax", "advanced")).out, "nothing found\n")
    })
  )

  it.scopedLive("ingest in another language; one that is unknown is refused with those that there are", () =>
    Effect.gen(function* () {
      const { hub } = yield* place
      const unknown = yield* hub("ingest", "files", "--language", "klingon")
      assert.strictEqual(unknown.code, 2)
      assert.match(unknown.err, /language is unknown; allowed: english, simple, trigram, .*german/)
      assert.strictEqual((yield* hub("ingest", "files", "--language", "trigram")).code, 0)
      assert.strictEqual((yield* hub("ingest", "files")).code, 0)
      const found = yield* hub("search", "ackup", "--mode", "text", "--json")
      assert.strictEqual(document(found).results[0].metadata.path, "guide/backups.md")
    })
  )

  it.scopedLive("tell what is wrong: 1 for what fails, 2 for what was typed", () =>
    Effect.gen(function* () {
      const { folder, hub } = yield* place
      const noFile = yield* hub("search", "a", "--json")
      assert.deepInclude(errorOf(noFile), { type: "DbConnection", code: "HUB_NO_FILE" })
      assert.isFalse(NodeFs.existsSync(NodePath.join(folder, "data")))
      const wrong: ReadonlyArray<readonly [ReadonlyArray<string>, number, RegExp]> = [
        [["ingest", "nowhere"], 2, /path nowhere is not there \(ENOENT\); allowed: a folder/],
        [["ingest", "files/guide/locks.md"], 2, /path files\/guide\/locks\.md is no folder \(ENOTDIR\); [^\n]*\n$/],
        [["ingest"], 2, /FOLDER/],
        [["search", "a", "--collection", "nope"], 1, /no such text collection/],
        [["search", ""], 2, /QUERY is empty/],
        [["search", "a", "--filter", "{"], 2, /filter is not valid JSON/],
        [["search", "a", "--filter", '{"a":{"$near":1}}'], 2, /\$near/],
        [["search", "a", "--limit", "0"], 2, /limit/],
        [["search", "a", "--mode", "fuzzy"], 2, /^error: --mode is unknown; allowed: text, vector, hybrid\n/],
        [["vector", "reembed", "nope"], 1, /no such collection/]
      ]
      yield* hub("ingest", "files")
      for (const [args, code, message] of wrong) {
        const outcome = yield* hub(...args)
        assert.strictEqual(outcome.code, code, `${args.join(" ")}: ${outcome.err}`)
        assert.match(outcome.err, message)
        assert.strictEqual(outcome.out, "")
      }
    })
  )

  it.scopedLive("use the configured model, outlive its failures, and move to another one", () =>
    Effect.gen(function* () {
      const { configure, hub } = yield* place
      let answer: (asked: Asked) => Answer = openAi
      const { asked, url } = yield* server((one) => answer(one))
      const model = { type: "openai", url, model: "small", dimension: 3, retries: 0 }
      configure(model)
      answer = () => ({ status: 401, body: { error: { code: "invalid_api_key" } } })
      const failing = yield* hub("ingest", "files")
      assert.strictEqual(failing.code, 0)
      assert.include(failing.out, "3 chunks, 0 embedded, 3 pending")
      assert.match(failing.err, /^note: The embedding model small refused the request: .* run this again\n$/)
      const found = yield* hub("search", "backups")
      assert.match(found.out, /^1\. files\/guide\/backups\.md:1/)
      assert.match(found.err, /^note: the vector leg failed: The embedding model small refused/)
      assert.deepInclude(document(yield* hub("search", "backups", "--json")).failed[0], {
        leg: "vector",
        type: "EmbeddingError"
      })

      answer = openAi
      const { embedded, pending } = document(yield* hub("ingest", "files", "--json"))
      assert.deepStrictEqual([embedded, pending], [3, 0])
      const before = asked.length
      assert.include((yield* hub("ingest", "files")).out, "0 embedded")
      assert.strictEqual(asked.length, before)
      const question = "How are backups made?"
      const { hits } = document(yield* hub("vector", "search", "documents", question, "--k", "1", "--json"))
      assert.strictEqual(hits.length, 1)
      assert.deepStrictEqual(asked.at(-1)?.input, [question])

      configure({ ...model, model: "large" })
      const refused = yield* hub("ingest", "files", "--json")
      assert.strictEqual(refused.code, 1)
      assert.deepInclude(errorOf(refused), { type: "ModelMismatch", expected: "small", actual: "large" })
      assert.include(errorOf(refused).hint, "db-hub vector reembed")
      assert.include((yield* hub("vector", "reembed", "documents")).out, "moved to the configured model: 3 embedded")
      assert.deepInclude(document(yield* hub("search", "backups", "--json")), { mode: "hybrid", failed: [] })
    })
  )

  it.scopedLive("tell which chunk has no vector, and why", () =>
    Effect.gen(function* () {
      const { configure, hub } = yield* place
      const { url } = yield* server((asked) =>
        asked.input.some((text) => text.includes("Backups"))
          ? { status: 400, body: { error: { code: "too_long" } } }
          : openAi(asked)
      )
      configure({ type: "openai", url, model: "small", dimension: 3, retries: 0 })
      const { code, err, out } = yield* hub("ingest", "files")
      assert.strictEqual(code, 0)
      assert.match(out, /: 3 files added, .*; 3 chunks, 2 embedded, 1 pending\n/)
      assert.match(
        out,
        /^ {2}no vector for files\/guide\/backups\.md:1: The embedding model small refused .*HTTP 400, too_long/m
      )
      assert.match(err, /; texts are found by words\n$/)
      const { refused } = document(yield* hub("ingest", "files", "--json"))
      assert.deepInclude(refused[0], { path: "guide/backups.md", line: 1, reason: "refused" })
    })
  )

  it.scopedLive("take text that begins with a dash, and show texts beside their vectors", () =>
    Effect.gen(function* () {
      const { hub } = yield* place
      yield* hub("ingest", "files")
      assert.match((yield* hub("search", "-restore backups", "--limit", "1")).out, /^1\. files\/guide\/backups\.md:1/)
      assert.match((yield* hub("search", "--limit", "1", "--", "-backups")).out, /^1\. files\/guide\/backups\.md:1/)
      for (const [word, message] of [
        ["-x", /^error: -x is no option of db-hub search; text that begins with a dash comes last, after --\n/],
        ["--limt=1", /^error: --limt is no option of db-hub search \(did you mean --limit\?\); /]
      ] as const) {
        const outcome = yield* hub("search", word, "--limit", "1")
        assert.deepStrictEqual([outcome.code, outcome.out], [2, ""])
        assert.match(outcome.err, message)
      }
      assert.match(
        (yield* hub("status", "--jsn")).err,
        /^error: --jsn is no option of db-hub status \(did you mean --json\?\)\n/
      )

      const near = yield* hub("vector", "search", "documents", "backups", "-k", "1")
      assert.include(near.out, "Backups run every night")
      assert.notInclude(near.out, "NULL")
      const [hit] = document(yield* hub("vector", "search", "documents", "backups", "-k", "1", "--json")).hits
      assert.include(hit.text, "Backups run every night")
      const { hits } = document(yield* hub("vector", "search", "documents", "--like", hit.id, "--json"))
      assert.isTrue(hits.length > 0 && hits.every(({ text }: { text: unknown }) => typeof text === "string"))
    })
  )

  it.scopedLive("show how far they are", () =>
    Effect.gen(function* () {
      const { folder } = yield* place
      const config = NodePath.join(folder, "db-hub.json")
      NodeFs.writeFileSync(config, JSON.stringify({ database: { hub: { sqlite: { path: "hub.db" } } } }))
      const args = ["ingest", NodePath.join(folder, "files"), "--config", config]
      const { code, progress } = yield* cli(args, { watched: true })
      assert.strictEqual(code, 0)
      assert.strictEqual(progress[0], "ingest [##########....................] 33%")
      assert.strictEqual(progress[2], "ingest [##############################] 100%")
      assert.strictEqual(progress[progress.length - 1], "")
    })
  )
})
