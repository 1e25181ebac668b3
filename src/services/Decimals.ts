/**
 * Exact arithmetic on decimals that are text.
 *
 * @since 0.1.0
 */

const parse = (text: string): readonly [digits: bigint, scale: number] => {
  const dot = text.indexOf(".")
  return dot < 0 ? [BigInt(text), 0] : [BigInt(text.slice(0, dot) + text.slice(dot + 1)), text.length - dot - 1]
}

/**
 * The exact sum, with as many digits after the point as the longer of the two.
 *
 * @since 0.1.0
 * @category arithmetic
 */
export const sum = (a: string, b: string): string => {
  const [x, xScale] = parse(a)
  const [y, yScale] = parse(b)
  const scale = Math.max(xScale, yScale)
  const total = x * 10n ** BigInt(scale - xScale) + y * 10n ** BigInt(scale - yScale)
  if (scale === 0) return String(total)
  const digits = String(total < 0n ? -total : total).padStart(scale + 1, "0")
  return `${total < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}
