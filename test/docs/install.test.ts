import * as NodeFs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import manifest from "../../package.json" with { type: "json" }

const peers: Readonly<Record<string, string>> = manifest.peerDependencies

const texts = [
  "README.md",
  ...["docs", "src"].flatMap((folder) =>
    NodeFs.readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => `${folder}/${name}`)
  )
].filter((file) => /\.(md|ts)$/.test(file))

/** What files tell to install: a package and the version after it. */
const told = texts.flatMap((file) =>
  Array.from(NodeFs.readFileSync(file, "utf8").matchAll(/npm install ([^`"\n]+)/g), ([, words]) => words!.split(" "))
    .flat()
    .map((word) => [file, .../^(@?[^@]+)(?:@(.+))?$/.exec(word)!.slice(1)] as const)
)

describe("what documents and errors tell to install", () => {
  it("is a package that the hub takes", () => {
    for (const [file, name] of told) {
      assert.include([...Object.keys(peers), manifest.name], name, file)
    }
  })

  it("is of the version that the hub takes, where the latest may be another", () => {
    const ofEffect = told.filter(([, name]) => /^(@effect\/|effect$)/.test(name!))
    assert.isAbove(ofEffect.length, 4)
    for (const [file, name, version] of ofEffect) {
      assert.isTrue(version !== undefined && peers[name!]!.startsWith(`^${version}.`), `${file}: ${name}@${version}`)
    }
  })
})
