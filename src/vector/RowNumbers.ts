/**
 * Which row a key has: a map of millions of entries that never grows all at once.
 */

/** Keys of one map: to make room for twice as many, a `Map` of half a million holds the whole process up for 40 ms. */
const blockSize = 65_536

export interface RowNumbers {
  readonly size: () => number
  readonly has: (key: number) => boolean
  readonly get: (key: number) => number | undefined
  readonly set: (key: number, row: number) => void
  readonly delete: (key: number) => void
}

export const make = (): RowNumbers => {
  const blocks = new Map<number, Map<number, number>>()
  let size = 0
  const blockOf = (key: number) => blocks.get(Math.floor(key / blockSize))
  return {
    size: () => size,
    has: (key) => blockOf(key)?.has(key) === true,
    get: (key) => blockOf(key)?.get(key),
    set: (key, row) => {
      let block = blockOf(key)
      if (block === undefined) {
        block = new Map()
        blocks.set(Math.floor(key / blockSize), block)
      }
      size -= block.size
      block.set(key, row)
      size += block.size
    },
    delete: (key) => {
      const block = blockOf(key)
      if (block?.delete(key) !== true) return
      size--
      if (block.size === 0) blocks.delete(Math.floor(key / blockSize))
    }
  }
}
