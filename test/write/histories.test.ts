import { assert, describe, it } from "@effect/vitest"
import { type Call, checkList, type Event, eventsOf, isLinearizable } from "../support/histories.js"

let made = 0

/** A call from one time to another, with its answer. */
const event = (begin: number, end: number, call: Call, result?: unknown): Event => ({
  id: `${made++}`,
  call,
  begin,
  end,
  outcome: "ok",
  result
})
const append = (begin: number, end: number, value: number) => event(begin, end, { kind: "append", key: "l", value })
const list = (begin: number, end: number, seen: ReadonlyArray<number>) =>
  event(begin, end, { kind: "list", key: "l" }, seen)
const write = (begin: number, end: number, value: number) => event(begin, end, { kind: "write", key: "r", value })
const read = (begin: number, end: number, seen: number | null) => event(begin, end, { kind: "read", key: "r" }, seen)
const swap = (begin: number, end: number, expected: number | null, value: number) =>
  event(begin, end, { kind: "swap", key: "r", expected, value })
const unknown = (made: Event): Event => ({ ...made, end: Number.POSITIVE_INFINITY, outcome: "unknown" })
const failed = (made: Event): Event => ({ ...made, outcome: "failed" })
const conflict = (made: Event): Event => ({ ...made, outcome: "conflict" })

describe("the checker of histories", () => {
  it("accepts lists that time explains, and finds what it does not", () => {
    const sound = [append(0, 1, 1), append(2, 5, 2), append(3, 4, 3), list(2, 3, [1]), list(6, 7, [1, 3, 2])]
    assert.deepStrictEqual(checkList(sound, [1, 3, 2]), [])
    assert.deepStrictEqual(checkList([...sound, unknown(append(4, 5, 4))], [1, 3, 2, 4]), [])
    assert.deepStrictEqual(checkList([...sound, unknown(append(4, 5, 4))], [1, 3, 2]), [])
    const faults: ReadonlyArray<readonly [string, ReadonlyArray<Event>, ReadonlyArray<number>]> = [
      ["a lost append", [append(0, 1, 1)], []],
      ["a double", [append(0, 1, 1)], [1, 1]],
      ["a value of nobody", [], [1]],
      ["a denied append", [failed(append(0, 1, 1))], [1]],
      ["another order than that of time", [append(0, 1, 1), append(2, 3, 2)], [2, 1]],
      ["a stale read", [append(0, 1, 1), list(2, 3, [])], [1]],
      ["a read of what never was", [append(0, 1, 1), append(0, 1, 2), list(2, 3, [2, 1])], [1, 2]],
      ["a read that goes back", [unknown(append(0, 1, 1)), list(2, 3, [1]), list(4, 5, [])], [1]]
    ]
    for (const [name, events, final] of faults) assert.isNotEmpty(checkList(events, final), name)
  })

  it("accepts registers that one order explains, and finds what none does", () => {
    const sound: ReadonlyArray<readonly [string, ReadonlyArray<Event>]> = [
      ["one after the other", [write(0, 1, 1), read(2, 3, 1), swap(4, 5, 1, 2), read(6, 7, 2)]],
      ["reads on both sides of a write under way", [write(0, 9, 1), read(1, 2, null), read(3, 4, 1)]],
      ["a write without an answer, seen late", [unknown(write(0, 1, 1)), read(2, 3, null), read(4, 5, 1)]],
      ["a write without an answer, never seen", [unknown(write(0, 1, 1)), read(2, 3, null)]],
      ["a swap that found another value", [write(0, 1, 1), conflict(swap(2, 3, 5, 6)), read(4, 5, 1)]],
      ["one of two swaps", [swap(0, 5, null, 1), conflict(swap(0, 5, null, 2)), read(6, 7, 1)]]
    ]
    for (const [name, events] of sound) assert.isTrue(isLinearizable(events), name)
    const faults: ReadonlyArray<readonly [string, ReadonlyArray<Event>]> = [
      ["a lost update", [swap(0, 5, null, 1), swap(0, 5, null, 2)]],
      ["a stale read", [write(0, 1, 1), read(2, 3, null)]],
      ["a read that goes back", [write(0, 1, 1), write(2, 9, 2), read(3, 4, 2), read(5, 6, 1)]],
      ["a read of a write that was not done", [failed(write(0, 1, 1)), read(2, 3, 1)]],
      ["a conflict without another value", [write(0, 1, 1), conflict(swap(2, 3, 1, 2))]]
    ]
    for (const [name, events] of faults) assert.isFalse(isLinearizable(events), name)
  })

  it("takes a call without an end as one that may still take effect", () => {
    const call: Call = { kind: "write", key: "r", value: 1 }
    const [open, done] = eventsOf([
      { id: "a", at: 1, call },
      { id: "b", at: 2, call },
      { id: "b", at: 3, end: "ok", result: null }
    ])
    assert.deepStrictEqual([open?.outcome, open?.end], ["unknown", Number.POSITIVE_INFINITY])
    assert.deepStrictEqual([done?.outcome, done?.end], ["ok", 3])
  })
})
