/** Whether what clients saw is what one database, asked by one client after the other, would have answered. */

export type Call =
  | { readonly kind: "append"; readonly key: string; readonly value: number }
  | { readonly kind: "list"; readonly key: string }
  | { readonly kind: "write"; readonly key: string; readonly value: number }
  | { readonly kind: "read"; readonly key: string }
  | { readonly kind: "swap"; readonly key: string; readonly expected: number | null; readonly value: number }

/** A line of a log: a call as it begins, or its end. */
export type Logged =
  | { readonly id: string; readonly at: number; readonly call: Call }
  | { readonly id: string; readonly at: number; readonly end: "ok"; readonly result: unknown }
  /** `conflict`: a swap that found another value. `failed`: not done. `unknown`: it may have been done. */
  | { readonly id: string; readonly at: number; readonly end: "conflict" | "failed" | "unknown" }

export interface Event {
  readonly id: string
  readonly call: Call
  readonly begin: number
  /** `Infinity` where no answer came: it may take effect at any time, or never. */
  readonly end: number
  readonly outcome: "ok" | "conflict" | "failed" | "unknown"
  readonly result?: unknown
}

/** The calls of some logs; one without an end is unknown. */
export const eventsOf = (logged: ReadonlyArray<Logged>): ReadonlyArray<Event> => {
  const begun = new Map<string, Event>()
  for (const entry of logged) {
    if ("call" in entry) {
      const { at, call, id } = entry
      begun.set(id, { id, call, begin: at, end: Number.POSITIVE_INFINITY, outcome: "unknown" })
      continue
    }
    const event = begun.get(entry.id)
    if (event === undefined) continue
    const end = entry.end === "unknown" ? Number.POSITIVE_INFINITY : entry.at
    begun.set(entry.id, { ...event, end, outcome: entry.end, ...(entry.end === "ok" ? { result: entry.result } : {}) })
  }
  return Array.from(begun.values())
}

/**
 * What is wrong with a list of which every value is appended once, given what is in it at the end: a lost, doubled or
 * undone append, a read of what never was, a stale read, or an order that contradicts time.
 */
export const checkList = (events: ReadonlyArray<Event>, final: ReadonlyArray<number>): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const place = new Map(final.map((value, n) => [value, n]))
  if (place.size !== final.length) problems.push("a value is there twice")
  const appends = events.flatMap((event) => (event.call.kind === "append" ? [{ ...event, ...event.call }] : []))
  const appended = new Set(appends.map(({ value }) => value))
  if (final.some((value) => !appended.has(value))) problems.push("a value is there that nobody appended")
  for (const { id, outcome, value } of appends) {
    if (outcome === "ok" && !place.has(value)) problems.push(`${id} was acknowledged and is lost`)
    if (outcome === "failed" && place.has(value)) problems.push(`${id} was told as not done and is there`)
  }
  const done = appends.filter(({ outcome }) => outcome === "ok")
  for (const a of done) {
    for (const b of appends) {
      const [at, later] = [place.get(a.value), place.get(b.value)]
      if (a.end < b.begin && at !== undefined && later !== undefined && later < at) {
        problems.push(`${b.id} began after ${a.id} had ended and stands before it`)
      }
    }
  }
  const reads = events.flatMap((event) =>
    event.call.kind === "list" && event.outcome === "ok" ? [{ ...event, seen: event.result as Array<number> }] : []
  )
  for (const { begin, id, seen } of reads) {
    if (seen.some((value, n) => final[n] !== value)) problems.push(`${id} saw what is no beginning of the list`)
    for (const a of done) {
      if (a.end < begin && (place.get(a.value) ?? 0) >= seen.length) problems.push(`${id} missed ${a.id}`)
    }
    for (const other of reads) {
      if (other.end < begin && other.seen.length > seen.length) problems.push(`${id} saw less than ${other.id} before`)
    }
  }
  return problems
}

/** What a register holds after a call, or undefined if the call cannot have had its answer there. */
const step = (held: number | null, { call, outcome, result }: Event): { readonly held: number | null } | undefined => {
  switch (call.kind) {
    case "write":
      return { held: call.value }
    case "read":
      return result === held ? { held } : undefined
    case "swap":
      if (outcome === "conflict") return held === call.expected ? undefined : { held }
      return held === call.expected ? { held: call.value } : undefined
    default:
      return undefined
  }
}

/**
 * Whether the calls on one register can be put in one order that time allows and that explains every answer
 * (linearizability, by the search of Wing and Gong).
 */
export const isLinearizable = (events: ReadonlyArray<Event>): boolean => {
  const calls = events
    // What was not done, and what read nothing, explains nothing.
    .filter(({ call, outcome }) => outcome !== "failed" && !(outcome === "unknown" && call.kind === "read"))
    .toSorted((a, b) => a.begin - b.begin)
  const tried = new Set<string>()
  const taken = new Uint8Array(calls.length)
  const search = (first: number, held: number | null): boolean => {
    let from = first
    while (from < calls.length && taken[from] === 1) from++
    // The next call in the order is one that began before any other has ended.
    let limit = Number.POSITIVE_INFINITY
    const open: Array<number> = []
    for (let n = from; n < calls.length && calls[n]!.begin <= limit; n++) {
      if (taken[n] === 1) continue
      open.push(n)
      limit = Math.min(limit, calls[n]!.end)
    }
    if (open.every((n) => calls[n]!.outcome === "unknown")) return true
    const state = `${from} ${open.join()} ${held}`
    if (tried.has(state)) return false
    tried.add(state)
    for (const n of open) {
      if (calls[n]!.begin > limit) continue
      const next = step(held, calls[n]!)
      if (next === undefined) continue
      taken[n] = 1
      if (search(from, next.held)) return true
      taken[n] = 0
    }
    return false
  }
  return search(0, null)
}
