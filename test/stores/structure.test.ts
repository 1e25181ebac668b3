import * as NodeFs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import ts from "typescript"
import { storeDocs } from "../../scripts/write-store-docs.js"
import { scopedStores } from "../../src/services/UserScope.js"

/** What serves all users at once, or what belongs to the installation. */
const ofAllUsers = new Set([
  "AuditLog",
  "JobQueue",
  "JobStoreAdmin",
  "RoutineStoreAdmin",
  "SandboxStoreAdmin",
  "ScheduledJobStoreAdmin",
  "SecretStoreAdmin",
  "StatementBatch",
  "ToolFailureStore",
  "WorkspaceGuard",
  "WorkspaceStoreAdmin"
])

/** The operations of every store as `docs/stores.md` lists them, which is written from the declarations. */
const operations = storeDocs()
  .text.split(/^## /m)
  .slice(1)
  .map((section) => ({
    store: section.slice(0, section.indexOf("\n")),
    takes: Array.from(section.matchAll(/^\| (?:\*\*)?`([^`]+)`/gm), ([, takes]) => takes!)
  }))

const filesIn = (folder: string): ReadonlyArray<string> =>
  NodeFs.readdirSync(folder)
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `${folder}/${name}`)

describe("the stores", () => {
  it("take an owner in every operation, but for those of all users", () => {
    const owned = operations.filter(({ store }) => !ofAllUsers.has(store))
    const without = owned.flatMap(({ store, takes }) =>
      takes.filter((text) => !/^\w+\((\{ user\b|user\b)/.test(text)).map((text) => `${store}.${text}`)
    )
    assert.deepStrictEqual(without, [])
    assert.isAbove(owned.flatMap(({ takes }) => takes).length, 120)
  })

  it("are all handed to a user scope, but for those of all users", () => {
    const scoped = Object.keys(scopedStores).map((name) => name.replace(/ies$/, "y").replace(/s$/, "").toLowerCase())
    const missing = operations
      .map(({ store }) => store)
      .filter((store) => !ofAllUsers.has(store))
      .filter(
        (store) =>
          !scoped.includes(
            store
              .replace(/Store$/, "")
              .replace(/s$/, "")
              .toLowerCase()
          )
      )
    assert.deepStrictEqual(missing, [])
  })

  it("take the time from the `Clock`, so that a program may give them another", () => {
    const found = filesIn("src/layers/stores").filter((path) =>
      /new Date\(\)|Date\.now\(\)/.test(NodeFs.readFileSync(path, "utf8"))
    )
    assert.deepStrictEqual(found, [])
  })

  it("never ask which engine they are on", () => {
    const found = filesIn("src/layers/stores").flatMap((path) => {
      const file = ts.createSourceFile(path, NodeFs.readFileSync(path, "utf8"), ts.ScriptTarget.ES2022, true)
      const asks: Array<string> = []
      const visit = (node: ts.Node): void => {
        const isKind = ts.isPropertyAccessExpression(node) && node.name.text === "kind"
        const names = ts.isStringLiteralLike(node) && /^(sqlite|postgres|postgresql|libsql|mysql)$/.test(node.text)
        if (names || (isKind && /\bbackend\.kind$/.test(node.getText(file)))) {
          asks.push(`${path}: ${node.getText(file)}`)
        }
        ts.forEachChild(node, visit)
      }
      visit(file)
      return asks
    })
    assert.deepStrictEqual(found, [])
  })
})
