import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Client } from "@modelcontextprotocol/client"
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Toml from "smol-toml"
import manifest from "../../package.json" with { type: "json" }
import server from "../../server.json" with { type: "json" }
import { temporaryFolder } from "../support/index.js"

const blocks = (language: string) =>
  Array.from(
    NodeFs.readFileSync("docs/agents.md", "utf8").matchAll(new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, "gs")),
    ([, text]) => text!
  )

interface Snippet {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
}

/** Every configuration of the documents that starts a process. */
const snippets = (): ReadonlyArray<Snippet> =>
  [
    ...blocks("json").map((text) => JSON.parse(text) as Record<string, Record<string, Partial<Snippet>>>),
    ...blocks("toml").map((text) => Toml.parse(text) as unknown as Record<string, Record<string, Partial<Snippet>>>)
  ]
    .flatMap((file) => Object.values(file).flatMap((servers) => Object.values(servers)))
    .filter((snippet): snippet is Snippet => snippet.command !== undefined)

/** A folder in which the package is installed. */
const project = Effect.map(temporaryFolder, (folder) => {
  NodeFs.mkdirSync(`${folder}/node_modules/.bin`, { recursive: true })
  NodeFs.writeFileSync(`${folder}/package.json`, JSON.stringify({ dependencies: { "effect-db-hub": "*" } }))
  NodeFs.symlinkSync(NodePath.resolve("."), `${folder}/node_modules/effect-db-hub`)
  NodeFs.symlinkSync("../effect-db-hub/bin/db-hub", `${folder}/node_modules/.bin/db-hub`)
  return folder
})

const answersOf = ({ args, command, env = {} }: Snippet, folder: string) =>
  Effect.promise(async () => {
    const client = new Client({ name: "tester", version: "1.0.0" })
    const own = Object.entries(env).map(([name, value]) => [name, value.replace("${workspaceFolder}", folder)])
    const inherited = process.env as Record<string, string>
    await client.connect(
      new StdioClientTransport({
        command,
        args: [...args],
        cwd: folder,
        env: { ...inherited, ...Object.fromEntries(own) }
      })
    )
    const { structuredContent } = await client.callTool({ name: "db_hub_query", arguments: { query: "SELECT 7" } })
    await client.close()
    return structuredContent
  })

/** What https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json asks of the parts used here. */
const ServerJson = Schema.Struct({
  $schema: Schema.Literal("https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"),
  name: Schema.String.pipe(
    Schema.pattern(/^[a-zA-Z0-9.-]+\/[a-zA-Z0-9._-]+$/),
    Schema.minLength(3),
    Schema.maxLength(200)
  ),
  title: Schema.String.pipe(Schema.minLength(1), Schema.maxLength(100)),
  description: Schema.String.pipe(Schema.minLength(1), Schema.maxLength(100)),
  version: Schema.String.pipe(Schema.pattern(/^\d+\.\d+\.\d+$/)),
  packages: Schema.NonEmptyArray(
    Schema.Struct({
      registryType: Schema.Literal("npm"),
      identifier: Schema.String,
      version: Schema.String.pipe(Schema.pattern(/^\d+\.\d+\.\d+$/)),
      runtimeHint: Schema.Literal("npx"),
      transport: Schema.Struct({ type: Schema.Literal("stdio") }),
      packageArguments: Schema.Array(Schema.Struct({ type: Schema.Literal("positional"), value: Schema.String })),
      environmentVariables: Schema.Array(
        Schema.Struct({ name: Schema.String, description: Schema.String, isSecret: Schema.Boolean })
      )
    })
  )
})

describe("what clients are told to start", { timeout: 120_000 }, () => {
  it.scopedLive("each configuration in the documents starts a server that answers", () =>
    Effect.gen(function* () {
      const found = snippets()
      assert.lengthOf(found, 3)
      const folder = yield* project
      for (const snippet of found) {
        assert.deepInclude(yield* answersOf(snippet, folder), { rows: [[7]] }, JSON.stringify(snippet))
      }
    })
  )

  it.scopedLive("server.json is of the registry's form, and what it describes starts", () =>
    Effect.gen(function* () {
      const { name, packages, version } = Schema.decodeUnknownSync(ServerJson, { onExcessProperty: "error" })(server)
      const [npm] = packages
      assert.deepStrictEqual(
        [name, version, npm.version, npm.identifier],
        [manifest.mcpName, manifest.version, manifest.version, manifest.name]
      )
      // Registries give a namespace to its owner alone.
      const { repository } = manifest as { repository?: { url: string } }
      const owner = /github\.com[/:]([^/]+)\//.exec(repository?.url ?? "")?.[1]
      if (owner !== undefined) assert.isTrue(name.startsWith(`io.github.${owner}/`), name)
      const args = ["-y", npm.identifier, ...npm.packageArguments.map(({ value }) => value)]
      assert.deepInclude(yield* answersOf({ command: npm.runtimeHint, args }, yield* project), { rows: [[7]] })
    })
  )
})
