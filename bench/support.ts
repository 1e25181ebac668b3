import * as NodeFs from "node:fs"
import * as NodeOs from "node:os"
import * as NodePath from "node:path"

export const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

/** Numbers from 0 up to 1, the same ones for the same seed (mulberry32). */
export const randomOf = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Numbers of the standard normal distribution (Box–Muller). */
export const gaussianOf = (random: () => number) => (): number =>
  Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())

export const temporaryFolder = (): string => {
  const folder = NodeFs.mkdtempSync(NodePath.join(NodeOs.tmpdir(), "effect-db-hub-bench-"))
  process.once("exit", () => NodeFs.rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** One way to do a job: runs it `times` times. */
export type Contender = (times: number) => void | Promise<void>

/**
 * Runs the contenders in turn, round by round, so that a drift of the machine meets all of them, and prints the median
 * of each with its ratio to the first.
 */
export const compare = async (
  title: string,
  options: { readonly rounds: number; readonly times: number; readonly perOperation?: number },
  contenders: Readonly<Record<string, Contender>>
): Promise<void> => {
  const { perOperation = 1, rounds, times } = options
  const names = Object.keys(contenders)
  const results = new Map<string, Array<number>>(names.map((name) => [name, []]))
  for (let round = -1; round < rounds; round++) {
    for (const name of names) {
      const started = performance.now()
      await contenders[name]!(times)
      // The first round warms up.
      if (round >= 0) results.get(name)!.push(((performance.now() - started) * 1000) / (times * perOperation))
    }
  }
  const first = median(results.get(names[0]!)!)
  console.log(`${title} (median of ${rounds} rounds of ${times})`)
  for (const name of names) {
    const value = median(results.get(name)!)
    console.log(`  ${name.padEnd(44)} ${value.toFixed(2).padStart(9)} µs ${(value / first).toFixed(2).padStart(7)}×`)
  }
}
