// Runs the benches as plain JavaScript against the built package: a loader that compiles as it goes would be measured too.
import { spawnSync } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = fileURLToPath(new URL("..", import.meta.url))
// As deep as bench, so that relative imports lead to the same files.
const built = join(root, ".bench")
const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true }

rmSync(built, { recursive: true, force: true })
mkdirSync(built)
for (const file of readdirSync(join(root, "bench")).filter((name) => name.endsWith(".ts"))) {
  const text = readFileSync(join(root, "bench", file), "utf8").replaceAll('"../src/', '"../dist/')
  const { outputText } = ts.transpileModule(text, { compilerOptions })
  writeFileSync(join(built, file.replace(/ts$/, "js")), outputText)
}
process.exit(
  spawnSync(process.execPath, [join(built, "run.js"), ...process.argv.slice(2)], { stdio: "inherit" }).status ?? 1
)
