import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import ts from "typescript"

/** What a part of a program, which has no imports, takes from around it. */
const around = (part: string) => `import * as Stores from "effect-db-hub/stores"
import * as Effect from "effect/Effect"
const { ConversationStore, MemoryStore, StatementBatch, WorkspaceStore, withIdempotencyKey } = Stores
declare const model: string, vector: ReadonlyArray<number>, conversation: string
export const program = Effect.gen(function* () {
${part}
})`

const documents = ["README.md", ...NodeFs.readdirSync("docs").map((name) => `docs/${name}`)]

const programs = new Map(
  documents.flatMap((document) =>
    Array.from(NodeFs.readFileSync(document, "utf8").matchAll(/^```ts\n(.*?)^```/gms), ([, text = ""], n) => [
      NodePath.resolve(`${document}.${n + 1}.ts`),
      /^import /m.test(text) ? text : around(text)
    ])
  ) as ReadonlyArray<readonly [string, string]>
)

describe("programs in the documents", () => {
  it("compile", { timeout: 180_000 }, () => {
    const { config } = ts.readConfigFile("tsconfig.json", (path) => NodeFs.readFileSync(path, "utf8"))
    const { options } = ts.parseJsonConfigFileContent({ ...config, files: [], include: [] }, ts.sys, process.cwd())
    const host = ts.createCompilerHost(options)
    const { fileExists, getSourceFile } = host
    host.fileExists = (path) => programs.has(path) || fileExists(path)
    host.getSourceFile = (path, version, ...rest) => {
      const text = programs.get(path)
      return text === undefined ? getSourceFile(path, version, ...rest) : ts.createSourceFile(path, text, version)
    }
    const program = ts.createProgram(Array.from(programs.keys()), { ...options, noUnusedLocals: false }, host)
    const wrong = Array.from(programs.keys()).flatMap((path) => {
      const file = program.getSourceFile(path)
      return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)].map(
        ({ messageText }) =>
          `${NodePath.relative(".", path)}: ${ts.flattenDiagnosticMessageText(messageText, "\n").slice(0, 300)}`
      )
    })
    assert.deepStrictEqual(wrong, [])
    assert.isAbove(programs.size, 10)
  })
})
