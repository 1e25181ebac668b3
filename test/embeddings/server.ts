/** A server on this machine that answers as servers of embedding models do. */
import * as NodeHttp from "node:http"
import type { AddressInfo } from "node:net"
import * as Effect from "effect/Effect"

export interface Asked {
  readonly path: string
  readonly authorization: string | undefined
  readonly model: string
  readonly input: ReadonlyArray<string>
}

export interface Answer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Text as it is, anything else as JSON; without a body the server never answers. */
  readonly body?: unknown
}

/** A vector of three dimensions that tells its text. */
export const vectorOf = (text: string): ReadonlyArray<number> => [text.length, text.codePointAt(0) ?? 0, 1]

/** As OpenAI answers. */
export const openAi = ({ input, model }: Asked): Answer => ({
  body: {
    object: "list",
    data: input.map((text, index) => ({ object: "embedding", index, embedding: vectorOf(text) })),
    model,
    usage: { prompt_tokens: 8, total_tokens: 8 }
  }
})

/** Starts a server on a free port; `answer` is told how many requests came before. */
export const server = (answer: (asked: Asked, before: number) => Answer) =>
  Effect.acquireRelease(
    Effect.async<{ readonly url: string; readonly asked: Array<Asked>; readonly stop: Effect.Effect<void> }>(
      (resume) => {
        const asked: Array<Asked> = []
        const http = NodeHttp.createServer(async (request, response) => {
          const chunks: Array<Uint8Array> = []
          for await (const chunk of request) chunks.push(chunk as Uint8Array)
          const { input, model } = JSON.parse(Buffer.concat(chunks).toString("utf8"))
          const one = { path: request.url ?? "", authorization: request.headers.authorization, model, input }
          const { body, headers = {}, status = 200 } = answer(one, asked.push(one) - 1)
          if (body === undefined) return
          response.writeHead(status, { "content-type": "application/json", ...headers })
          response.end(typeof body === "string" ? body : JSON.stringify(body))
        })
        const stop = Effect.async<void>((done) => {
          http.close(() => done(Effect.void))
          http.closeAllConnections()
        })
        http.listen(0, "127.0.0.1", () => {
          const { port } = http.address() as AddressInfo
          resume(Effect.succeed({ url: `http://127.0.0.1:${port}/v1`, asked, stop }))
        })
      }
    ),
    ({ stop }) => stop
  )
