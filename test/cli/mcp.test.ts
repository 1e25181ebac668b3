import { execFileSync } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { compiling } from "../../src/cli/commands/mcp.js"
import { emptyPlace, errorOf } from "./support.js"

describe("db-hub mcp", { timeout: 60_000 }, () => {
  it.scoped("does not serve what was meant otherwise, and says what to do", () =>
    Effect.gen(function* () {
      const { hub } = yield* emptyPlace
      const wrong: ReadonlyArray<readonly [ReadonlyArray<string>, number, string]> = [
        [["--writes", "plan"], 2, "--allow write"],
        [["--allow", "write", "--dml-only"], 2, "--writes plan"],
        [["--role", "reader"], 2, "one on PostgreSQL"],
        [["--backend", "archiv"], 1, "did you mean archive?"],
        [["--http", "99999"], 2, "65535"],
        [["--rate", "db_hub_query"], 2, "TOOL=N"],
        [["--rate", "db_hub_query=0"], 2, "TOOL=N"],
        [["--rate", "nothing=5"], 2, "db_hub_query"],
        [["--keep-audit", "0"], 2, "from 1 to 36500"],
        [["--allow", "read"], 2, "write, admin"]
      ]
      for (const [args, code, says] of wrong) {
        const run = yield* hub(["mcp", ...args, "--json"])
        assert.strictEqual(run.code, code, run.err)
        assert.include(errorOf(run).message, says)
      }
    })
  )

  it("tells the compiler nothing that it might not know", () => {
    assert.isUndefined(compiling("25.0.0"))
    assert.isUndefined(compiling("30.1.2"))
    const flags = compiling(process.versions.node)
    const known = execFileSync(process.execPath, ["--v8-options"], { encoding: "utf8" })
    for (const flag of flags?.split(" ") ?? []) assert.include(known, `${flag.split("=")[0]} `)
  })
})
