import { type ChildProcess, spawn } from "node:child_process"
import * as NodeFs from "node:fs"
import * as NodeNet from "node:net"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client"
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio"
import Database from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { factories } from "../../src/layers/HubLive.js"
import * as HubMake from "../../src/layers/HubMake.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import * as Mcp from "../../src/tools/Mcp.js"
import * as StdioTransport from "../../src/tools/StdioTransport.js"
import * as Toolkit from "../../src/tools/Toolkit.js"
import { childrenOf, temporaryFolder } from "../support/index.js"
import { inDatabase, noServer, outside, serverUrl, temporaryDatabase } from "../support/postgres.js"

const bin = NodePath.resolve("bin/db-hub")

const place = Effect.map(temporaryFolder, (folder) => {
  NodeFs.mkdirSync(`${folder}/data`)
  const db = new Database(`${folder}/data/hub.db`)
  db.exec("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT); INSERT INTO notes (body) VALUES ('a'), ('b')")
  db.close()
  return folder
})

const connected = (transport: () => Parameters<Client["connect"]>[0]) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const client = new Client({ name: "tester", version: "1.0.0" })
      await client.connect(transport())
      return client
    }),
    (client) => Effect.promise(() => client.close())
  )

const overStdio = (folder: string, ...args: ReadonlyArray<string>) =>
  connected(() => new StdioClientTransport({ command: process.execPath, args: [bin, "mcp", ...args], cwd: folder }))

const call = (client: Client, name: string, args: Record<string, unknown>) =>
  Effect.promise(() => client.callTool({ name, arguments: args }))

describe("db-hub mcp", { timeout: 60_000 }, () => {
  it.scopedLive("the official client lists the tools that read, asks, is refused, and every call is recorded", () =>
    Effect.gen(function* () {
      const folder = yield* place
      const client = yield* overStdio(folder)
      const { tools } = yield* Effect.promise(() => client.listTools())
      assert.deepStrictEqual(
        tools.map(({ annotations, name }) => [name, annotations?.readOnlyHint]),
        [
          ["db_hub_status", true],
          ["db_hub_query", true],
          ["db_hub_schema", true],
          ["db_hub_backends", true],
          ["db_hub_search", true]
        ]
      )
      const tokens = JSON.stringify(tools).length / 4
      console.log(`tools/list over stdio, characters / 4: read ${Math.ceil(tokens)}`)
      assert.isBelow(tokens, 1200)
      const rows = yield* call(client, "db_hub_query", { query: "SELECT * FROM notes WHERE id > ?", params: [1] })
      assert.deepStrictEqual(rows.structuredContent, {
        columns: ["id", "body"],
        rows: [[2, "b"]],
        row_count: 1,
        truncated: false,
        reason: null
      })
      const refused = yield* call(client, "db_hub_query", { query: "SELECT 1; DELETE FROM notes" })
      assert.isTrue(refused.isError)
      const written = yield* call(client, "db_hub_query", { query: "DELETE FROM notes" })
      assert.match(JSON.stringify(written.content), /DbReadOnly/)
      const log = yield* call(client, "db_hub_query", {
        query: "SELECT tool, caller, allowed FROM db_hub_audit ORDER BY seq"
      })
      assert.deepStrictEqual((log.structuredContent as { rows: unknown }).rows, [
        ["db_hub_query", "tester", 1],
        ["db_hub_query", "tester", 0],
        ["db_hub_query", "tester", 0]
      ])
    })
  )

  it.scopedLive("calls stay in the audit log for as long as was asked, and no longer", () =>
    Effect.gen(function* () {
      const folder = yield* place
      const ask = (query: string, ...args: ReadonlyArray<string>) =>
        Effect.scoped(
          Effect.gen(function* () {
            const client = yield* overStdio(folder, ...args)
            yield* call(client, "db_hub_query", { query: "SELECT 1" })
            const { structuredContent } = yield* call(client, "db_hub_query", { query })
            return (structuredContent as { rows: unknown }).rows
          })
        )
      const callers = "SELECT caller FROM db_hub_audit ORDER BY seq"
      assert.deepStrictEqual(yield* ask(callers), [["tester"]])
      const db = new Database(`${folder}/data/hub.db`)
      for (const [caller, days] of [
        ["older", 91],
        ["old", 89]
      ]) {
        db.exec(`INSERT INTO db_hub_audit (id, caller, tool, level, allowed, created_at)
          SELECT '${caller}', '${caller}', tool, level, allowed,
            strftime('%Y-%m-%dT%H:%M:%fZ', created_at, '-${days} days') FROM db_hub_audit WHERE seq = 1`)
      }
      db.close()
      assert.deepStrictEqual(yield* ask(`${callers} LIMIT 3`), [["tester"], ["tester"], ["old"]])
      assert.deepStrictEqual(yield* ask(`${callers} LIMIT 3`, "--keep-audit", "30"), [
        ["tester"],
        ["tester"],
        ["tester"]
      ])
    })
  )

  it.scopedLive("all of the tools cost less than 2,500 tokens, and a write goes by plan and code", () =>
    Effect.gen(function* () {
      const client = yield* overStdio(yield* place, "--allow", "write", "--allow", "admin", "--writes", "plan")
      const { tools } = yield* Effect.promise(() => client.listTools())
      assert.lengthOf(tools, 10)
      const tokens = JSON.stringify(tools).length / 4
      console.log(`tools/list over stdio, characters / 4: all ${Math.ceil(tokens)}`)
      assert.isBelow(tokens, 2500)
      const statement = "DELETE FROM notes WHERE id = 1"
      const planned = yield* call(client, "db_hub_execute", { statement })
      const { code } = planned.structuredContent as { code: string }
      const count = { query: "SELECT count(*) FROM notes" }
      const before = yield* call(client, "db_hub_query", count)
      assert.deepStrictEqual((before.structuredContent as { rows: unknown }).rows, [[2]])
      yield* call(client, "db_hub_execute", { statement, code })
      const after = yield* call(client, "db_hub_query", count)
      assert.deepStrictEqual((after.structuredContent as { rows: unknown }).rows, [[1]])
    })
  )

  const ends: Readonly<Record<string, readonly [end: (child: ChildProcess) => void, code: number]>> = {
    SIGHUP: [(child) => child.kill("SIGHUP"), 129],
    SIGINT: [(child) => child.kill("SIGINT"), 130],
    SIGTERM: [(child) => child.kill("SIGTERM"), 143],
    "its client, which reads no more": [
      (child) => {
        child.stdout!.destroy()
        child.stdin!.write('{"jsonrpc":"2.0","id":3,"method":"tools/list"}\n')
      },
      0
    ]
  }
  for (const [name, [end, code]] of Object.entries(ends)) {
    it.scopedLive(`ended by ${name}, it has put down every call and closed its database`, () =>
      Effect.gen(function* () {
        const folder = yield* place
        const child = yield* Effect.acquireRelease(
          Effect.sync(
            (): ChildProcess =>
              spawn(process.execPath, [bin, "mcp"], { cwd: folder, stdio: ["pipe", "pipe", "ignore"] })
          ),
          (running) => Effect.sync(() => running.kill("SIGKILL"))
        )
        const ended = new Promise((resolve) => child.once("exit", resolve))
        let said = ""
        const ask = (id: number, method: string, params: object) =>
          Effect.async<void>((resume) => {
            const hear = (data: unknown) => {
              said += String(data)
              if (!said.includes(`"id":${id}`)) return
              child.stdout!.off("data", hear)
              resume(Effect.void)
            }
            child.stdout!.on("data", hear)
            child.stdin!.write(`${JSON.stringify({ jsonrpc: "2.0", id, method, params })}\n`)
          })
        const clientInfo = { name: "raw", version: "1" }
        yield* ask(1, "initialize", { protocolVersion: "2025-11-25", capabilities: {}, clientInfo })
        child.stdin!.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        yield* ask(2, "tools/call", { name: "db_hub_query", arguments: { query: "SELECT 7" } })
        end(child)
        assert.strictEqual(yield* Effect.promise(() => ended), code)
        assert.notInclude(NodeFs.readdirSync(`${folder}/data`), "hub.db-wal")
        const db = new Database(`${folder}/data/hub.db`)
        const tools = db.prepare("SELECT tool FROM db_hub_audit").pluck().all()
        db.close()
        assert.deepStrictEqual(tools, ["db_hub_query"])
      })
    )
  }

  it.scopedLive("malformed lines, bytes that are no text, strange ids and large input never stop it", () =>
    Effect.gen(function* () {
      const folder = yield* place
      const child = yield* Effect.acquireRelease(
        Effect.sync(
          (): ChildProcess => spawn(process.execPath, [bin, "mcp"], { cwd: folder, stdio: ["pipe", "pipe", "ignore"] })
        ),
        (running) => Effect.sync(() => running.kill("SIGKILL"))
      )
      let said = ""
      child.stdout!.on("data", (data) => {
        said += String(data)
      })
      const send = (message: string | Uint8Array) => child.stdin!.write(message)
      const line = (message: unknown) => send(`${JSON.stringify(message)}\n`)
      const answered = (id: unknown) =>
        Effect.async<Record<string, unknown>>((resume) => {
          const timer = setInterval(() => {
            const found = said.split("\n").find((text) => text.includes(`"id":${JSON.stringify(id)}`))
            if (found === undefined) return
            clearInterval(timer)
            resume(Effect.succeed(JSON.parse(found)))
          }, 20)
          return Effect.sync(() => clearInterval(timer))
        }).pipe(Effect.timeout("20 seconds"), Effect.orDie)
      line({
        jsonrpc: "2.0",
        id: "start",
        method: "initialize",
        params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "raw", version: "1" } }
      })
      assert.isDefined((yield* answered("start"))["result"])
      line({ jsonrpc: "2.0", method: "notifications/initialized" })
      for (const bad of ["{", "null\n", "[]\n", "{}\n", '{"jsonrpc":"2.0"}\n', "\n\n", "not json\n", '"text"\n'])
        send(`${bad}\n`)
      send(new Uint8Array([0xff, 0xfe, 0x00, 0x80, 0x0a]))
      const query = (id: unknown, sql: string) =>
        line({ jsonrpc: "2.0", id, method: "tools/call", params: { name: "db_hub_query", arguments: { query: sql } } })
      query("large", `SELECT '${"x".repeat(1_000_000)}'`)
      assert.match(JSON.stringify(yield* answered("large")), /InvalidInput/)
      for (const id of ["a string", "ünïcödé", 0, 12345678]) {
        query(id, "SELECT 7 AS seven")
        assert.match(JSON.stringify(yield* answered(id)), /seven/)
      }
      assert.isNull(child.exitCode)
      const ended = new Promise((resolve) => child.once("exit", resolve))
      child.stdin!.end()
      assert.strictEqual(yield* Effect.promise(() => ended), 0)
    })
  )
})

/** Runs a check again until it holds; what never does fails the test. */
const until = (check: () => Promise<boolean>) =>
  Effect.promise(check).pipe(
    Effect.delay("20 millis"),
    Effect.repeat({ until: (holds) => holds }),
    Effect.timeout("20 seconds"),
    Effect.orDie
  )

/** Starts a call, waits until `running`, cancels it and waits until `gone`. */
const cancelled = (client: Client, query: string, running: () => Promise<boolean>, gone: () => Promise<boolean>) =>
  Effect.gen(function* () {
    const controller = new AbortController()
    const asked = client.callTool({ name: "db_hub_query", arguments: { query } }, { signal: controller.signal }).then(
      () => "answered",
      () => "cancelled"
    )
    yield* until(running)
    controller.abort()
    assert.strictEqual(yield* Effect.promise(() => asked), "cancelled")
    yield* until(gone)
    const next = yield* call(client, "db_hub_query", { query: "SELECT 7 AS seven" })
    assert.deepStrictEqual((next.structuredContent as { rows: unknown }).rows, [[7]])
  })

describe("a client of either protocol", { timeout: 60_000 }, () => {
  for (const mode of ["legacy", { pin: "2026-07-28" }] as const) {
    it.scopedLive(`is answered, refused and recorded under its name: ${JSON.stringify(mode)}`, () =>
      Effect.gen(function* () {
        const folder = yield* place
        const client = yield* Effect.acquireRelease(
          Effect.promise(async () => {
            const made = new Client({ name: "either", version: "1.0.0" }, { versionNegotiation: { mode } })
            await made.connect(new StdioClientTransport({ command: process.execPath, args: [bin, "mcp"], cwd: folder }))
            return made
          }),
          (made) => Effect.promise(() => made.close())
        )
        const refused = yield* call(client, "db_hub_query", { query: "DELETE FROM notes" })
        assert.isTrue(refused.isError)
        assert.match(JSON.stringify(refused.content), /DbReadOnly/)
        for (const [name, args] of [
          ["nothing", {}],
          ["db_hub_query", "SELECT 1"]
        ] as const) {
          const asked = client.callTool({ name, arguments: args as Record<string, unknown> })
          const code = yield* Effect.promise(() =>
            asked.then(
              () => "answered",
              (error: { readonly code?: unknown }) => error.code
            )
          )
          assert.strictEqual(code, -32_602)
        }
        const log = yield* call(client, "db_hub_query", { query: "SELECT caller, allowed FROM db_hub_audit" })
        assert.deepStrictEqual((log.structuredContent as { rows: unknown }).rows, [["either", 0]])
        const [content] = log.content as ReadonlyArray<{ readonly text: string }>
        assert.deepStrictEqual(JSON.parse(content!.text), log.structuredContent)
      })
    )
  }
})

describe("standard output", { timeout: 60_000 }, () => {
  it.scopedLive("what nobody has read when the client goes is not sent, and whoever waits for it is told", () =>
    Effect.gen(function* () {
      const path = `${yield* temporaryFolder}/socket`
      const listening = yield* Effect.acquireRelease(
        Effect.async<NodeNet.Server>((resume) => {
          const server = NodeNet.createServer({ pauseOnConnect: true })
          server.listen(path, () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const [client, output] = yield* Effect.async<readonly [NodeNet.Socket, NodeNet.Socket]>((resume) => {
        const output = NodeNet.connect(path)
        listening.once("connection", (client) => resume(Effect.succeed([client, output] as const)))
      })
      const transport = StdioTransport.make(output, output)
      yield* Effect.promise(() => transport.start())
      const text = "x".repeat(8_000_000)
      const sent = transport.send({ jsonrpc: "2.0", id: 1, result: { text } }).then(
        () => "sent",
        () => "not sent"
      )
      client.destroy()
      assert.strictEqual(
        yield* Effect.timeout(
          Effect.promise(() => sent),
          "10 seconds"
        ),
        "not sent"
      )
    })
  )
})

describe("a call that is cancelled", { timeout: 60_000 }, () => {
  it.scopedLive("ends the process that runs it on SQLite", () =>
    Effect.gen(function* () {
      const folder = yield* place
      const transport = new StdioClientTransport({ command: process.execPath, args: [bin, "mcp"], cwd: folder })
      const client = yield* connected(() => transport)
      yield* call(client, "db_hub_query", { query: "SELECT 1" })
      const workers = childrenOf(transport.pid!)
      assert.isAtLeast(workers.length, 1)
      const endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c"
      yield* cancelled(
        client,
        endless,
        () => Promise.resolve(true),
        async () => workers.some((pid) => !childrenOf(transport.pid!).includes(pid))
      )
    })
  )

  it.scopedLive.skipIf(noServer)("is stopped by PostgreSQL", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const url = inDatabase(serverUrl, yield* temporaryDatabase)
      const transport = new StdioClientTransport({
        command: process.execPath,
        args: [bin, "mcp"],
        cwd: folder,
        env: { ...(process.env as Record<string, string>), DATABASE_URL: url }
      })
      const client = yield* connected(() => transport)
      const active = async () => {
        const [row] = await Effect.runPromise(
          outside(
            url,
            "SELECT count(*)::int AS n FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() " +
              "AND datname = current_database() AND query LIKE '%hub_read%'"
          )
        )
        return Number(row!["n"])
      }
      yield* cancelled(
        client,
        "SELECT count(*) FROM generate_series(1, 1000000000)",
        async () => (await active()) === 1,
        async () => (await active()) === 0
      )
    })
  )
})

describe("what a client is offered", { timeout: 60_000 }, () => {
  it.scopedLive("the schema as a resource of each backend, and progress of long work", () =>
    Effect.gen(function* () {
      const folder = yield* place
      const client = yield* overStdio(folder, "--allow", "admin", "--allow", "write")
      const { resources } = yield* Effect.promise(() => client.listResources())
      assert.deepStrictEqual(
        resources.map(({ uri }) => uri),
        ["db-hub://primary/schema"]
      )
      const { contents } = yield* Effect.promise(() => client.readResource({ uri: "db-hub://primary/schema" }))
      const [content] = contents as ReadonlyArray<{ readonly text: string }>
      assert.strictEqual(JSON.parse(content!.text).tables[0].name, "notes")
      const unknown = yield* Effect.promise(() =>
        client.readResource({ uri: "db-hub://nowhere/schema" }).then(
          () => "",
          (error: Error) => error.message
        )
      )
      assert.include(unknown, "backend")

      const seen: Array<{ readonly progress: number; readonly total?: number | undefined }> = []
      const work = (name: string, args: Record<string, unknown>) =>
        Effect.promise(() => {
          seen.length = 0
          return client.callTool({ name, arguments: args }, { onprogress: (progress) => seen.push(progress) })
        })
      yield* work("db_hub_backup", { output: "copy.db" })
      assert.isAtLeast(seen.length, 1)
      const other = yield* Sqlite.make({ path: `${folder}/data/hub.db`, migrate: false })
      yield* other.migrator.migrate({ target: 1 })
      yield* work("db_hub_migrate", {})
      const steps = seen.length
      assert.isAtLeast(steps, 2)
      assert.deepStrictEqual(
        seen.map(({ progress }) => progress),
        Array.from({ length: steps }, (_, i) => i + 1)
      )
      // The client drops a notification that it reads together with the answer: the last ones may be missing.
      assert.isAtLeast(seen.at(-1)!.total!, steps)
      assert.strictEqual(new Set(seen.map(({ total }) => total)).size, 1)
    })
  )

  it.scopedLive("what is remembered is found by words alone, and belongs to the user that was named", () =>
    Effect.gen(function* () {
      const folder = yield* place
      const ada = yield* overStdio(folder, "--allow", "write", "--user", "ada")
      const kept = yield* call(ada, "db_hub_remember", { content: "Ada prefers metric units", tags: ["units"] })
      assert.isString((kept.structuredContent as { id: unknown }).id)
      const again = yield* call(ada, "db_hub_remember", { content: "Ada prefers metric units" })
      assert.isTrue((again.structuredContent as { duplicate: unknown }).duplicate)
      const found = yield* call(ada, "db_hub_search", { query: "metric units" })
      const [best] = (found.structuredContent as { results: ReadonlyArray<Record<string, unknown>> }).results
      assert.deepStrictEqual([best!["in"], best!["text"]], ["memories", "Ada prefers metric units"])
      const bob = yield* overStdio(folder, "--user", "bob")
      const others = yield* call(bob, "db_hub_search", { query: "metric units" })
      assert.deepStrictEqual((others.structuredContent as { results: unknown }).results, [])
    })
  )
})

describe("the tools over HTTP", { timeout: 60_000 }, () => {
  it.scopedLive("answer the official client with the token, and nobody else", () =>
    Effect.gen(function* () {
      const folder = yield* place
      const hub = yield* HubMake.make({
        primary: { type: "sqlite", path: `${folder}/data/hub.db` } as { type: string },
        factories
      })
      const kit = yield* Toolkit.make(hub, {
        groups: ["read", "write"],
        writes: "plan",
        callsPerSecond: { db_hub_schema: 0.001 }
      })
      const token = Redacted.make("a-token")
      const port = yield* Mcp.http(kit, "1.0.0", { port: 0, token, maxBody: 10_000 })
      const url = new URL(`http://127.0.0.1:${port}/mcp`)
      const requestInit = { headers: { authorization: "Bearer a-token" } }
      const client = yield* connected(() => new StreamableHTTPClientTransport(url, { requestInit }))
      const rows = yield* call(client, "db_hub_query", { query: "SELECT count(*) FROM notes" })
      assert.deepStrictEqual((rows.structuredContent as { rows: unknown }).rows, [[2]])

      const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" })
      const status = (headers: Record<string, string>, sent = body, path = "/mcp") =>
        Effect.promise(async () => {
          const { request } = await import("node:http")
          return new Promise<number | undefined>((resolve, reject) => {
            const asked = request(
              {
                host: "127.0.0.1",
                port,
                path,
                method: "POST",
                headers: { "content-type": "application/json", ...headers }
              },
              (response) => {
                response.resume()
                resolve(response.statusCode)
              }
            )
            asked.on("error", reject)
            asked.end(sent)
          })
        })
      const authorization = "Bearer a-token"
      assert.strictEqual(yield* status({}), 401)
      assert.strictEqual(yield* status({ authorization: "Bearer a-tokeN" }), 401)
      assert.strictEqual(yield* status({ authorization: "a-token" }), 401)
      assert.strictEqual(yield* status({ authorization: "bearer a-token" }), yield* status({ authorization }))
      assert.strictEqual(yield* status({ authorization, host: "evil.example" }), 403)
      assert.strictEqual(yield* status({ authorization, origin: "https://evil.example" }), 403)
      assert.strictEqual(yield* status({ authorization }, body, "/other"), 404)
      assert.strictEqual(yield* status({ authorization }, `"${"x".repeat(20_000)}"`), 413)
      assert.isBelow((yield* status({ authorization }, "{")) ?? 500, 500)
      // Each client is a session: the code of one is none of another.
      const other = yield* connected(() => new StreamableHTTPClientTransport(url, { requestInit }))
      const statement = "DELETE FROM notes WHERE id = 1"
      const planned = yield* call(client, "db_hub_execute", { statement })
      const { code } = planned.structuredContent as { code: string }
      assert.isTrue((yield* call(other, "db_hub_execute", { statement, code })).isError)
      const mine = (yield* call(client, "db_hub_execute", { statement })).structuredContent as { code: string }
      assert.isFalse((yield* call(client, "db_hub_execute", { statement, code: mine.code })).isError === true)
      // A limit of calls as well.
      const burst = (from: Client) =>
        Effect.map(
          Effect.all(
            Array.from({ length: 3 }, () => call(from, "db_hub_schema", {})),
            { concurrency: 3 }
          ),
          (answers) => answers.filter(({ isError }) => isError === true).length
        )
      assert.deepStrictEqual([yield* burst(client), yield* burst(other)], [2, 2])
      assert.strictEqual(yield* status({ authorization, "mcp-session-id": "unknown" }), 404)
      // It still answers.
      assert.isFalse((yield* call(client, "db_hub_status", {})).isError === true)
    })
  )
})
