/**
 * The one order of strings on every engine.
 *
 * @since 0.1.0
 */

/** UTF-16 puts surrogates before U+E000…U+FFFF; code points beyond U+FFFF come after. */
const rank = (unit: number): number => (unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit)

/**
 * Compares by code point, as UTF-8 engines do: negative, zero or positive.
 *
 * @since 0.1.0
 * @category ordering
 */
export const compareCodePoints = (a: string, b: string): number => {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x !== y) return rank(x) - rank(y)
  }
  return a.length - b.length
}
