/**
 * A server of the same SDK whose one tool does nothing: what a call costs before any of ours.
 */
import { McpServer } from "@modelcontextprotocol/server"
import { serveStdio } from "@modelcontextprotocol/server/stdio"

const any = { type: "object" }
const schema = {
  "~standard": {
    version: 1,
    vendor: "bench",
    validate: (value: unknown) => ({ value }),
    jsonSchema: { input: () => any, output: () => any }
  }
} as const

serveStdio(() => {
  const server = new McpServer({ name: "floor", version: "1.0.0" })
  server.registerTool("nothing", { description: "-", inputSchema: schema, outputSchema: schema }, async (args) => {
    const id = Number(/\d+$/.exec((args as { query: string }).query)?.[0])
    const value = { columns: ["id", "body", "at"], rows: [[id, `note ${id}`, "2026-01-01"]], row_count: 1 }
    return { content: [{ type: "text", text: JSON.stringify(value) }], structuredContent: value }
  })
  return server
})
