// Writes docs/stores.md: every operation of every store with its semantics, read from the declarations.
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const services = new URL("../src/services/", import.meta.url)
export const target = new URL("../docs/stores.md", import.meta.url)

const header = `# Stores

What agents keep, one behaviour on every engine. Every operation is listed with what it takes, what it succeeds with and
what it does. Operations in **bold** write: each is one transaction, may be run under an idempotency key
(\`withIdempotencyKey\`), and is told in the change feed (\`WriteChannel.changes\`). All of them fail with the hub's
errors (\`DbError\`); a payload that does not fit is \`InvalidInput\`, and a field that is undefined is left out.

A stored row that cannot be read is \`DbCorrupt\` with its table and id, alone and in a list, since a list that is short
without a word would be a lie; it can be deleted like any other. What a scheduler or worker goes by (routines, due and
claimed work, what is stuck or broken) passes it over and reports it, as \`Readable\`: one row never stops the others.

They come from \`effect-db-hub/stores\`: \`StoresLive\` is the layer of all of them on a \`Backend\`, \`StoresShared()\` the same
for processes that share one SQLite file. Code that works for one user asks for \`UserScope\`, which has the stores without
the \`user\` of their operations, so that it cannot reach another user's things:

\`\`\`ts
import { UserScope, UserScopeLive } from "effect-db-hub/stores"
import * as Effect from "effect/Effect"

const handler = Effect.gen(function* () {
  const { settings } = yield* UserScope
  return yield* settings.get("language")
})
const program = Effect.provide(handler, UserScopeLive("ada"))
\`\`\`

<!-- Written by scripts/write-store-docs.ts; change the docstrings in src/services instead. -->
`

interface Declared {
  readonly tag: string
  readonly fields: ReadonlyArray<string>
  readonly success: string
  readonly doc: string
}

interface Row {
  readonly name: string
  readonly takes: string
  readonly gives: string
  readonly doc: string
  readonly operation: Declared | undefined
}

interface Service {
  readonly name: string
  readonly doc: string
  readonly rows: ReadonlyArray<Row>
}

const oneLine = (text: string): string => text.replaceAll(/\s+/g, " ").trim()

const commentOf = (doc: ts.JSDoc | undefined): string =>
  typeof doc?.comment === "string" ? doc.comment : (ts.getTextOfJSDocComment(doc?.comment) ?? "")

const docOf = (node: ts.Node): string => commentOf(ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc).at(-1))

/** The comment at the top of a file, unless it is that of its first declaration. */
const docOfModule = (file: ts.SourceFile): string => {
  const [first] = file.statements
  return first === undefined ? "" : commentOf(ts.getJSDocCommentsAndTags(first).filter(ts.isJSDoc)[0])
}

const readFile = (file: ts.SourceFile) => {
  const constants = new Map<string, ts.Expression>()
  const types = new Map<string, ts.NodeArray<ts.TypeElement>>()
  const operations = new Map<string, Declared>()

  /** The properties of what an expression stands for, as far as it stands in this file. */
  const propertiesOf = (
    expression: ts.Expression | undefined
  ): ReadonlyArray<ts.ObjectLiteralElementLike> | undefined => {
    if (expression === undefined) return undefined
    if (ts.isObjectLiteralExpression(expression)) return expression.properties
    if (ts.isIdentifier(expression)) return propertiesOf(constants.get(expression.text))
    if (ts.isPropertyAccessExpression(expression)) return propertiesOf(expression.expression)
    return ts.isCallExpression(expression) ? propertiesOf(expression.arguments[0]) : undefined
  }

  const isOptional = (expression: ts.Expression | undefined): boolean => {
    if (expression === undefined) return false
    if (ts.isIdentifier(expression)) return isOptional(constants.get(expression.text))
    return ts.isCallExpression(expression) && /^(Schema\.)?optional/.test(expression.expression.getText(file))
  }

  const fieldsOf = (expression: ts.Expression | undefined): ReadonlyArray<string> =>
    (propertiesOf(expression) ?? [undefined]).flatMap((property) => {
      if (property === undefined) return ["…"]
      if (ts.isSpreadAssignment(property)) return fieldsOf(property.expression)
      const name = property.name?.getText(file) ?? "…"
      const value = ts.isPropertyAssignment(property) ? property.initializer : constants.get(name)
      return [isOptional(value) ? `${name}?` : name]
    })

  const option = (options: ts.Expression | undefined, name: string): ts.Expression | undefined => {
    const found = propertiesOf(options)?.find((property) => property.name?.getText(file) === name)
    if (found === undefined) return undefined
    return ts.isPropertyAssignment(found) ? found.initializer : constants.get(name)
  }

  for (const statement of file.statements) {
    if (ts.isInterfaceDeclaration(statement)) types.set(statement.name.text, statement.members)
    if (ts.isTypeAliasDeclaration(statement) && ts.isTypeLiteralNode(statement.type)) {
      types.set(statement.name.text, statement.type.members)
    }
    if (!ts.isVariableStatement(statement)) continue
    for (const { initializer, name } of statement.declarationList.declarations) {
      if (initializer === undefined || !ts.isIdentifier(name)) continue
      constants.set(name.text, initializer)
      if (!ts.isCallExpression(initializer) || initializer.expression.getText(file) !== "operation") continue
      const [tag, options] = initializer.arguments
      if (tag === undefined || !ts.isStringLiteral(tag)) continue
      operations.set(name.text, {
        tag: tag.text,
        fields: fieldsOf(option(options, "payload")),
        success: (option(options, "success")?.getText(file) ?? "void").replaceAll("Schema.", ""),
        doc: docOf(statement)
      })
    }
  }
  return { operations, types }
}

/** `Effect<A, DbError>` gives A, a Stream gives many. */
const givesOf = (type: ts.TypeNode, file: ts.SourceFile): string => {
  if (!ts.isTypeReferenceNode(type)) return oneLine(type.getText(file))
  const name = type.typeName.getText(file)
  const [success] = type.typeArguments ?? []
  if (success === undefined || !/^(Effect|Stream)\./.test(name)) return oneLine(type.getText(file))
  return name.startsWith("Stream.") ? `Stream of ${oneLine(success.getText(file))}` : oneLine(success.getText(file))
}

const rowOf = (
  member: ts.TypeElement,
  store: string,
  { operations, types }: ReturnType<typeof readFile>,
  file: ts.SourceFile
): Row | undefined => {
  if (!ts.isPropertySignature(member) || member.type === undefined) return undefined
  const name = member.name.getText(file)
  const { type } = member
  if (ts.isTypeReferenceNode(type) && type.typeName.getText(file) === "Submit") {
    const declared = operations.get(type.typeArguments?.[0]?.getText(file).replace("typeof ", "") ?? "")
    if (declared === undefined) return undefined
    const doc = [declared.doc, docOf(member)].filter((text) => text !== "").join(" ")
    const takes = `${name}({ ${declared.fields.join(", ")} })`
    return { name, takes, gives: declared.success, doc, operation: declared }
  }
  if (ts.isFunctionTypeNode(type)) {
    const named = (each: ts.ParameterDeclaration | ts.TypeElement) =>
      `${each.name?.getText(file)}${each.questionToken ? "?" : ""}`
    // What is done on the way to an operation of the same name is a write all the same.
    const operation = Array.from(operations.values()).find(({ tag }) => tag === `${store}.${name}`)
    const parameters = type.parameters.map((each) => {
      const fields = operation && types.get(each.type?.getText(file) ?? "")
      return fields === undefined ? named(each) : `{ ${fields.map(named).join(", ")} }`
    })
    const doc = [operation?.doc ?? "", docOf(member)].filter((text) => text !== "").join(" ")
    return { name, takes: `${name}(${parameters.join(", ")})`, gives: givesOf(type.type, file), doc, operation }
  }
  return { name, takes: name, gives: givesOf(type, file), doc: docOf(member), operation: undefined }
}

/** The class that is a tag, as `class X extends Context.Tag("…")<X, { … }>() {}`. */
const membersOf = (
  statement: ts.ClassDeclaration,
  types: ReadonlyMap<string, ts.NodeArray<ts.TypeElement>>,
  file: ts.SourceFile
): ts.NodeArray<ts.TypeElement> | undefined => {
  const parent = statement.heritageClauses?.[0]?.types[0]?.expression
  if (parent === undefined || !ts.isCallExpression(parent) || !parent.getText(file).startsWith("Context.Tag(")) {
    return undefined
  }
  const shape = parent.typeArguments?.[1]
  if (shape === undefined) return undefined
  return ts.isTypeLiteralNode(shape) ? shape.members : types.get(shape.getText(file))
}

const servicesIn = (
  text: string,
  name: string
): { readonly services: ReadonlyArray<Service>; readonly unused: ReadonlyArray<string> } => {
  const file = ts.createSourceFile(name, text, ts.ScriptTarget.ES2022, true)
  const declared = readFile(file)
  const { operations, types } = declared
  if (operations.size === 0) return { services: [], unused: [] }
  const found = file.statements.flatMap((statement): ReadonlyArray<Service> => {
    if (!ts.isClassDeclaration(statement) || statement.name === undefined) return []
    const members = membersOf(statement, types, file)
    if (members === undefined) return []
    const { text: name } = statement.name
    const rows = members.flatMap((member) => rowOf(member, name, declared, file) ?? [])
    return [{ name, doc: docOf(statement), rows }]
  })
  const intro = docOfModule(file)
  const described = found.map((service, i) =>
    i === 0 ? { ...service, doc: `${intro}\n\n${service.doc}`.trim() } : service
  )
  const used = new Set(described.flatMap(({ rows }) => rows.map(({ operation }) => operation?.tag)))
  const unused = Array.from(operations.values(), ({ tag }) => tag).filter((tag) => !used.has(tag))
  return { services: described, unused }
}

/** Scopes of users know an operation by the names of its store and member. */
const isNamedLike = ({ fields, tag }: Declared, store: string, member: string): boolean =>
  fields.includes("user") ? tag === `${store}.${member}` : tag.endsWith(`.${member}`)

const cell = (text: string): string => oneLine(text).replaceAll("|", "\\|")

const table = ({ doc, name, rows }: Service): string =>
  [
    `## ${name}`,
    ...(doc === "" ? [] : [doc]),
    [
      "| operation | succeeds with | what it does |",
      "|---|---|---|",
      ...rows.map(({ doc, gives, operation, takes }) => {
        const shown = operation === undefined ? `\`${takes}\`` : `**\`${takes}\`**`
        return `| ${cell(shown)} | ${cell(`\`${gives}\``)} | ${cell(doc)} |`
      })
    ].join("\n")
  ].join("\n\n")

/** The document, and what stands in the way of a complete one. */
export const storeDocs = (): { readonly text: string; readonly problems: ReadonlyArray<string> } => {
  const files = readdirSync(services)
    .filter((name) => name.endsWith(".ts") && name !== "WriteChannel.ts")
    .sort()
  const read = files.map((name) => servicesIn(readFileSync(new URL(name, services), "utf8"), name))
  const all = read.flatMap(({ services }) => services)
  const problems = [
    ...read.flatMap(({ unused }) => unused.map((tag) => `${tag} is declared, but no member of a store`)),
    ...all.flatMap(({ name, rows }) =>
      rows.flatMap((row) => [
        ...(row.doc === "" ? [`${name}.${row.name} does not say what it does`] : []),
        ...(row.operation === undefined || isNamedLike(row.operation, name, row.name)
          ? []
          : [`${row.operation.tag} is the member ${name}.${row.name}: both must have one name`])
      ])
    )
  ]
  return { text: `${[header.trim(), ...all.map(table)].join("\n\n")}\n`, problems }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { problems, text } = storeDocs()
  for (const problem of problems) console.error(problem)
  if (problems.length > 0) process.exitCode = 1
  writeFileSync(target, text)
}
