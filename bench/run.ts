/**
 * Runs the benches of this folder: `npm run bench` all of them, `npm run bench -- sqlite` those named. Each prints
 * medians and ratios against a peer measured in the same run.
 */
import * as NodeFs from "node:fs"

const folder = new URL(".", import.meta.url)
const all = NodeFs.readdirSync(folder)
  .filter((file) => file.endsWith(".js") && !/^(run|support|.*\.child)\.js$/.test(file))
  .map((file) => file.slice(0, -3))
const names = process.argv.slice(2).filter((name) => !name.startsWith("-"))
const unknown = names.filter((name) => !all.includes(name))

if (unknown.length > 0) {
  console.error(`There is no bench named ${unknown.join(", ")}; there are ${all.join(", ")}`)
  process.exitCode = 2
} else {
  for (const name of names.length === 0 ? all : names) {
    console.log(`\n== ${name}`)
    await import(new URL(`${name}.js`, folder).href)
  }
}
