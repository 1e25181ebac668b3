// Formatter, linter, types, floors and circles: everything that needs no database, side by side.
import { spawn } from "node:child_process"

const checks = [
  ["biome", ["check", "."]],
  ["tsc", ["-p", "tsconfig.json"]],
  ["depcruise", ["src", "--config", ".dependency-cruiser.cjs"]]
]

const run = ([command, args]) =>
  new Promise((resolve) => {
    const child = spawn(command, args, { shell: process.platform === "win32" })
    let output = ""
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk))
    child.on("error", (error) => resolve({ command, output: String(error), code: 1 }))
    child.on("close", (code) => resolve({ command, output, code }))
  })

const results = await Promise.all(checks.map(run))
for (const { code, command, output } of results) {
  console.log(`${code === 0 ? "ok  " : "FAIL"} ${command}`)
  if (code !== 0) console.log(output)
}
process.exitCode = results.every((result) => result.code === 0) ? 0 : 1
