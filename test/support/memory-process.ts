/** Stores memories that others store, too, in words or in meaning: `memory-process.ts PLACE USER COUNT`. */
import * as Effect from "effect/Effect"
import { MemoryStore } from "../../src/services/MemoryStore.js"
import { report } from "./child.js"
import { storesOn } from "./place.js"

const [place = "", user = "", count = ""] = process.argv.slice(2)

/** Nearly the direction of `n`, as another wording would have it. */
const near = (n: number) => [Math.cos(n), Math.sin(n), Math.random() / 1000]

const storing = Effect.gen(function* () {
  const memories = yield* MemoryStore
  const ids: Array<string> = []
  for (let n = 0; n < Number(count); n++) {
    const same = yield* memories.store({ user, content: `the same ${n}` })
    const embedding = { model: "m", vector: near(n) }
    const alike = yield* memories.store({ user, content: `${process.pid} ${n}`, embedding, duplicateFrom: 0.999 })
    ids.push(same.id, alike.id)
  }
  return ids
})

const services = storesOn(place)
await report((told) => Effect.provide(Effect.zipRight(told, storing), services))
