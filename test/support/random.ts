/** Numbers from 0 up to 1, the same ones for the same seed (mulberry32). */
export const random = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** `DB_HUB_SEED`, or another seed every time; whoever uses it prints it. */
export const seedOfRun = (): number => Number(process.env["DB_HUB_SEED"] ?? Math.floor(Math.random() * 2 ** 31))
