import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it, type TestContext } from "vitest"
import {
  type LocalPostgres,
  makeCertificates,
  type None,
  type Postgres,
  psql,
  startPgBouncer,
  startPostgres,
  startReplica
} from "../../scripts/engines/postgres.mjs"

const timed = async <A>(name: string, work: () => Promise<A>): Promise<A> => {
  const before = performance.now()
  const result = await work()
  console.log(`${name}: ${Math.round(performance.now() - before)} ms`)
  return result
}

const running = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

const within = async (ms: number, condition: () => boolean) => {
  const deadline = Date.now() + ms
  while (!condition() && Date.now() < deadline) await new Promise((done) => setTimeout(done, 20))
  return condition()
}

const isLocal = (server: Postgres | None): server is LocalPostgres =>
  server.kind === "prefix" || server.kind === "installed"

const skipNone = (context: TestContext, server: { readonly kind: string; readonly reason: string }) => {
  if (server.kind === "none") context.skip(server.reason)
}

const have = <A extends { readonly kind: string }>(server: A | None): A => {
  if (server.kind === "none") throw new Error((server as None).reason)
  return server as A
}

describe("engines", () => {
  let primary: Postgres | None

  beforeAll(async () => {
    primary = await timed("start PostgreSQL (with the first fetch)", () => startPostgres())
    if (primary.kind === "none") console.warn(primary.reason)
  }, 900_000)

  afterAll(async () => {
    if (primary.kind !== "none") await timed("stop PostgreSQL", primary.stop)
  })

  it("answers, and has pgvector", async (context) => {
    skipNone(context, primary)
    const { kind, url } = have(primary)
    expect(await timed(`select (${kind})`, () => psql(url, "select 1"))).toBe("1")
    await timed("create extension", () => psql(url, "create extension if not exists vector"))
    expect(await psql(url, "select '[1,2,3]'::vector <-> '[1,2,4]'::vector")).toBe("1")
  })

  it("is reached through PgBouncer, also by users made later", async (context) => {
    skipNone(context, primary)
    const { url } = have(primary)
    const pool = await timed("start PgBouncer", () => startPgBouncer({ postgresUrl: url, poolMode: "transaction" }))
    skipNone(context, pool)
    const { adminUrl, stop, url: pooled } = have(pool)
    try {
      expect(await timed("select through PgBouncer", () => psql(pooled, "select 1"))).toBe("1")
      expect(await psql(adminUrl, "show config")).toMatch(/^pool_mode\|transaction/m)
      await psql(url, `drop role if exists engines_guest; create role engines_guest login password 'a b@"\\:'`)
      const guest = new URL(pooled)
      guest.username = "engines_guest"
      guest.password = encodeURIComponent('a b@"\\:')
      expect(await psql(guest.href, "select current_user")).toBe("engines_guest")
    } finally {
      await timed("stop PgBouncer", stop)
      await psql(url, "drop role if exists engines_guest")
    }
  })

  it("streams to a replica which refuses writes", async (context) => {
    skipNone(context, primary)
    if (!isLocal(primary)) return context.skip("the server is not one of our own")
    const { url } = primary
    await psql(url, "create table streamed as select 1 as n")
    const replica = have(await timed("start replica", () => startReplica(primary as LocalPostgres)))
    try {
      expect(await psql(replica.url, "select pg_is_in_recovery(), n from streamed")).toBe("t|1")
      await psql(url, "insert into streamed values (2)")
      const lsn = await psql(url, "select pg_current_wal_lsn()")
      await timed("row arrives", async () => {
        while ((await psql(replica.url, `select pg_last_wal_replay_lsn() >= '${lsn}'`)) !== "t");
      })
      expect(await psql(replica.url, "select count(*) from streamed")).toBe("2")
      await expect(psql(replica.url, "insert into streamed values (3)")).rejects.toThrow(/read-only transaction/)
    } finally {
      await timed("stop replica", replica.stop)
    }
    expect(existsSync(replica.dataDir)).toBe(false)
  })

  it("serves TLS with a certificate which clients can verify", async (context) => {
    skipNone(context, primary)
    if (!isLocal(primary)) return context.skip("the server is not one of our own")
    const files = await timed("make certificates", () => makeCertificates({ hosts: ["localhost"] }))
    const server = await timed("start PostgreSQL with TLS", () => startPostgres({ tls: { ...files, only: true } }))
    try {
      const secure = (host: string, mode: string) => {
        const url = new URL(have(server).url)
        url.hostname = host
        return `${url.href}?sslmode=${mode}&sslrootcert=${encodeURIComponent(files.caFile)}`
      }
      const query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
      expect(await psql(secure("localhost", "verify-full"), query)).toBe("t")
      await expect(psql(secure("127.0.0.1", "verify-full"), query)).rejects.toThrow(/does not match host name/)
      await expect(psql(secure("localhost", "disable"), query)).rejects.toThrow(/no encryption/)
    } finally {
      files.remove()
      if (server.kind !== "none") await server.stop()
    }
  })

  it("starts several at once, each with its own port, and restarts after a kill", async (context) => {
    skipNone(context, primary)
    if (!isLocal(primary)) return context.skip("the server is not one of our own")
    const password = `p ä'"@\\%:/?#`
    const servers = await timed("start two at once", () =>
      Promise.all([startPostgres({ own: true, password }), startPostgres({ own: true })])
    )
    try {
      const [first, second] = servers.map(have) as [LocalPostgres, LocalPostgres]
      expect(first.port).not.toBe(second.port)
      expect(Math.max(first.port, second.port)).toBeLessThan(32_768)
      await psql(first.url, "create table kept as select 7 as n; checkpoint")
      const { pid } = first
      process.kill(pid, "SIGKILL")
      await timed("restart after a kill", first.restart)
      expect(first.pid).not.toBe(pid)
      expect(await psql(first.url, "select n from kept")).toBe("7")
    } finally {
      await Promise.all(servers.map((server) => server.kind !== "none" && server.stop()))
    }
  })

  it("leaves nothing behind when its parent is killed", async (context) => {
    skipNone(context, primary)
    if (!isLocal(primary)) return context.skip("the server is not one of our own")
    const script = fileURLToPath(new URL("../../scripts/engines/run.mjs", import.meta.url))
    const parent = spawn(process.execPath, [script, "--json"], { stdio: ["ignore", "pipe", "inherit"] })
    const [line] = (await timed("run.mjs --json is ready", () =>
      once(createInterface({ input: parent.stdout }), "line")
    )) as [string]
    const { pgbouncer, postgres, replica } = JSON.parse(line)
    expect(await psql(pgbouncer.url, "select 1")).toBe("1")
    parent.kill("SIGKILL")
    const gone = await timed("all gone after SIGKILL", () =>
      within(10_000, () => [postgres, replica].every(({ dataDir, pid }) => !running(pid) && !existsSync(dataDir)))
    )
    expect(gone).toBe(true)
    await expect(psql(pgbouncer.url, "select 1")).rejects.toThrow(/refused/)
  })
})
