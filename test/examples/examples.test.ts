import { execFile } from "node:child_process"
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { temporaryFolder } from "../support/index.js"

const root = fileURLToPath(new URL("../..", import.meta.url))

const tsx = NodePath.join(root, "node_modules", "tsx", "dist", "cli.mjs")

const start = (example: string, cwd: string, ...args: ReadonlyArray<string>) =>
  promisify(execFile)(process.execPath, [tsx, NodePath.resolve(root, "examples", example), ...args], {
    cwd,
    env: { ...process.env, TSX_TSCONFIG_PATH: NodePath.join(root, "tsconfig.json"), NO_COLOR: "1" }
  })

const run = (...args: Parameters<typeof start>) => Effect.promise(() => start(...args))

describe("examples", { timeout: 120_000 }, () => {
  it.scopedLive("an Effect program runs on SqliteLive and leaves its data in ./data/hub.db", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const { stdout } = yield* run("effect-program.ts", folder)
      assert.include(stdout, "the user prefers metric units")
      assert.isTrue(NodeFs.existsSync(NodePath.join(folder, "data", "hub.db")))
    })
  )

  it.scopedLive("the programs of the README run as they stand there, one after the other", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const blocks = NodeFs.readFileSync(NodePath.join(root, "README.md"), "utf8").matchAll(/```ts\n(.*?)```/gs)
      const programs = Array.from(blocks, ([, text = ""], n) => {
        // Where the packages are found.
        const file = NodePath.join(process.env["DB_HUB_TEST_PROCESSES"]!, `readme-${n}.ts`)
        NodeFs.writeFileSync(file, text)
        return file
      })
      assert.isAbove(programs.length, 2)
      const outputs = yield* Effect.forEach([...programs, programs[0]!], (file) => run(file, folder))
      const [first, second, ...rest] = outputs.map(({ stdout }) => stdout)
      const again = rest.pop()
      assert.include(first, "id: 'n1'")
      assert.include(second, "note: 'metric units'")
      assert.match(again!, /WARN.*UNIQUE constraint failed/)
      assert.include(again, "id: 'n1'")
    })
  )

  it.scopedLive("plain code keeps its data from one run to the next", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      assert.include((yield* run("plain-promise.ts", folder)).stdout, "{ page: '/home', n: 1 }")
      const second = yield* run("plain-promise.ts", folder)
      assert.include(second.stdout, "{ page: '/home', n: 2 }")
      assert.include(second.stdout, "DbQuery SQLite: no such table: nowhere")
    })
  )

  it.scopedLive("an agent's memory is found again", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      assert.include((yield* run("agent-memory.ts", folder)).stdout, "[ 'Ada likes short answers.' ]")
      assert.include((yield* run("agent-memory.ts", folder)).stdout, "[ 'Ada likes short answers.' ]")
    })
  )

  it.scopedLive("processes that write to one file at once count every vote", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const runs = yield* Effect.all(
        [1, 2, 3].map(() => run("shared-writes.ts", folder)),
        { concurrency: "unbounded" }
      )
      const votes = runs.map(({ stdout }) => Number(/^(\d+) votes for soup; closed 1 poll$/m.exec(stdout)?.[1]))
      assert.strictEqual(Math.max(...votes), 33)
    })
  )

  it.scopedLive("the main job answers from a folder and embeds again only what changed", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const notes = NodePath.join(folder, "notes")
      NodeFs.mkdirSync(notes)
      NodeFs.writeFileSync(NodePath.join(notes, "a.md"), "# Backups\n\nBackups run every night at two.\n")
      NodeFs.writeFileSync(NodePath.join(notes, "b.txt"), "The office has a coffee machine.\n")
      NodeFs.writeFileSync(NodePath.join(notes, "image.png"), "not\u0000text")
      const ask = (...question: ReadonlyArray<string>) =>
        Effect.map(run("ask-your-docs.ts", folder, notes, ...question), ({ stdout }) => stdout)

      const first = yield* ask("when do the backups run?")
      assert.include(first, "files: 2 added, 0 changed, 0 unchanged, 0 removed; 2 passages, 2 embedded")
      assert.include(first, "healthy")
      assert.match(first, /\? when do the backups run\?\n {2}\d\.\d+ {2}a\.md:1\n/)

      NodeFs.appendFileSync(NodePath.join(notes, "a.md"), "# Restore\n\nTry a restore every month.\n")
      NodeFs.rmSync(NodePath.join(notes, "b.txt"))
      assert.include(yield* ask("restore"), "files: 0 added, 1 changed, 0 unchanged, 1 removed; 1 passages, 1 embedded")
    })
  )

  it.scopedLive("the main job says what is wrong with a folder that does not exist", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const failed = yield* Effect.promise(() =>
        start("ask-your-docs.ts", folder, "nowhere").then(
          () => undefined,
          (error: { readonly code: number; readonly stderr: string }) => error
        )
      )
      assert.strictEqual(failed?.code, 1)
      assert.include(failed?.stderr, "nowhere")
      assert.notInclude(failed?.stderr, "    at ")
    })
  )
})
