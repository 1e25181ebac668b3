import { execFileSync, spawn } from "node:child_process"
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { build } from "esbuild"
import { bundleOptions } from "../../scripts/bundleOptions.mjs"
import { temporaryFolder } from "../support/index.js"
import { bin, hub } from "./support.js"

describe("bin/db-hub", { timeout: 60_000 }, () => {
  it.scopedLive("works in an empty folder: nothing there, migrate, execute, query, status, backup", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const absent = yield* hub(folder, ["query", "SELECT 1"])
      assert.strictEqual(absent.code, 1)
      assert.match(absent.err, /^error: There is no database at .*\nhint: .*\n$/)
      assert.deepStrictEqual(NodeFs.readdirSync(folder), [])
      assert.strictEqual((yield* hub(folder, ["migrate"])).code, 0)
      assert.strictEqual((yield* hub(folder, ["execute", "-"], { stdin: "CREATE TABLE t (a TEXT)" })).code, 0)
      const found = yield* hub(folder, ["query", "-", "--json"], { stdin: "SELECT count(*) AS n FROM t -- end\n" })
      assert.deepStrictEqual(JSON.parse(found.out).rows, [{ n: 0 }])
      const [status, one, two] = yield* Effect.all(
        [hub(folder, ["status", "--json"]), hub(folder, ["backup"]), hub(folder, ["backup"])],
        { concurrency: 3 }
      )
      assert.isTrue(JSON.parse(status.out).healthy)
      assert.deepStrictEqual([one.code, two.code], [0, 0], one.err + two.err)
      assert.notStrictEqual(one.out, two.out)
    })
  )

  it.scopedLive("help, version, exit codes, no escapes without a terminal", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const { version } = JSON.parse(NodeFs.readFileSync("package.json", "utf8"))
      const commands: ReadonlyArray<readonly [ReadonlyArray<string>, number]> = [
        [[], 0],
        [["--version"], 0],
        [["query", "--help"], 0],
        [["vector", "search", "--help"], 0],
        [["--completions", "bash"], 0],
        [["nonsense"], 2],
        [["query"], 2],
        [["doctor"], 1]
      ]
      const check = ([args, code]: (typeof commands)[number]) =>
        Effect.map(hub(folder, args, { env: args.length > 1 ? { NO_COLOR: "1", FORCE_COLOR: "1" } : {} }), (run) => {
          assert.strictEqual(run.code, code, args.join(" "))
          assert.notInclude(run.out + run.err, "\u001b", args.join(" "))
          assert.notMatch(run.err, /^\s+at /m)
          if (args[0] === "--version") assert.strictEqual(run.out.trim(), version)
          if (args.length === 0) assert.include(run.out, "USAGE")
        })
      yield* Effect.forEach(commands, check, { concurrency: 2 })
    })
  )

  it.scopedLive.skipIf(process.platform === "win32")("bash completes commands and their options", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      NodeFs.writeFileSync(`${folder}/completions`, (yield* hub(folder, ["--completions", "bash"])).out)
      const complete = (...words: ReadonlyArray<string>) =>
        execFileSync(
          "bash",
          [
            "-c",
            `. ./completions; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _db-hub_bash_completions db-hub; echo "\${COMPREPLY[@]}"`
          ].concat("bash", "db-hub", ...words),
          { cwd: folder, encoding: "utf8" }
        )
          .trim()
          .split(" ")
      assert.deepStrictEqual(complete("sta"), ["status"])
      assert.includeMembers(complete("query", "--"), ["--param", "--max-rows", "--json"])
      assert.includeMembers(complete("vector", "search", "--"), ["--like", "--filter"])
      assert.deepStrictEqual(complete("primary", "step"), ["step-down"])
      assert.includeMembers(complete("primary", "step-down", "--"), ["--backend"])
    })
  )

  it.scopedLive("as it is installed, in a few files, the command reads a configuration in YAML", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.promise(() =>
        build({
          ...bundleOptions,
          entryPoints: ["src/cli/main.ts"],
          outdir: `${folder}/dist/bundle`,
          logLevel: "error"
        })
      )
      NodeFs.writeFileSync(`${folder}/package.json`, `{ "type": "module", "version": "0.1.0" }`)
      NodeFs.writeFileSync(`${folder}/db-hub.yaml`, "database:\n  hub:\n    sqlite: { path: ./elsewhere.db }\n")
      const program = NodePath.join(folder, "dist/bundle/main.js")
      const run = yield* hub(folder, ["config", "print", "--json"], { program })
      assert.strictEqual(run.code, 0, run.err)
      assert.match(JSON.parse(run.out).database.hub.sqlite.path, /elsewhere\.db$/)
    })
  )

  it.scopedLive("doctor says why the SQLite driver does not work", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      assert.strictEqual((yield* hub(folder, ["migrate"])).code, 0)
      const refuse = `export const resolve = (name, context, next) => {
        if (name === "better-sqlite3") throw new Error("compiled against another Node.js")
        return next(name, context)
      }`
      const hook = `import { register } from "node:module"
        register("data:text/javascript," + ${JSON.stringify(encodeURIComponent(refuse))})`
      NodeFs.writeFileSync(`${folder}/hook.mjs`, hook)
      const env = { NODE_OPTIONS: `--import=${folder}/hook.mjs` }
      const run = yield* hub(folder, ["doctor", "--json"], { env })
      const { checks } = JSON.parse(run.out)
      assert.deepInclude(checks[1], { name: "sqlite", status: "fail" })
      assert.include(checks[1].message, "compiled against another Node.js")
      assert.strictEqual(run.code, 1)
    })
  )

  it.scopedLive("input that is no UTF-8 is refused, and a reader that stops early is no fault", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const bad = yield* Effect.async<number | null>((resume) => {
        const child = spawn(process.execPath, [bin, "query", "-"], { cwd: folder, stdio: ["pipe", "ignore", "ignore"] })
        child.on("close", (code) => resume(Effect.succeed(code)))
        child.stdin.end(Buffer.from([0x53, 0xff, 0xfe]))
      })
      assert.strictEqual(bad, 2)
      yield* hub(folder, ["execute", "CREATE TABLE t (a)"])
      const rows =
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 50000) SELECT x, hex(randomblob(40)) FROM c"
      const early = yield* Effect.async<{ code: number | null; err: string }>((resume) => {
        const child = spawn(process.execPath, [bin, "query", rows, "--max-rows", "50000", "--max-bytes", "10000000"], {
          cwd: folder
        })
        let err = ""
        child.stderr.on("data", (chunk) => {
          err += chunk
        })
        child.stdout.once("data", () => child.stdout.destroy())
        child.on("close", (code) => resume(Effect.succeed({ code, err })))
      })
      assert.deepStrictEqual(early, { code: 0, err: "" })
    })
  )

  it.scopedLive("an interrupt ends a statement that runs without end", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* hub(folder, ["execute", "CREATE TABLE t (a)"])
      const signal = yield* Effect.async<NodeJS.Signals | null>((resume) => {
        const endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
        const child = spawn(process.execPath, [bin, "query", endless], { cwd: folder, stdio: "ignore" })
        const timer = setTimeout(() => child.kill("SIGINT"), 4000)
        child.on("close", (_, signal) => {
          clearTimeout(timer)
          resume(Effect.succeed(signal))
        })
      })
      assert.strictEqual(signal, "SIGINT")
    })
  )
})
