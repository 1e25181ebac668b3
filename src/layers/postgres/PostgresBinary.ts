/**
 * The binary forms of what is sent in bulk: arrays of text, JSON, bytes and vectors
 * (https://www.postgresql.org/docs/17/protocol-message-formats.html; `vector_recv` of pgvector).
 *
 * @since 0.1.0
 */

const textType = 25
const bytesType = 17
const jsonType = 3802

const array = (type: number, items: ReadonlyArray<Uint8Array | null>): Buffer => {
  const size = items.reduce((sum, item) => sum + 4 + (item === null ? 0 : item.byteLength), 20)
  const buffer = Buffer.allocUnsafe(size)
  let at = 0
  const int = (value: number) => {
    at = buffer.writeInt32BE(value, at)
  }
  int(1)
  int(items.includes(null) ? 1 : 0)
  buffer.writeUInt32BE(type, at)
  at += 4
  int(items.length)
  int(1)
  for (const item of items) {
    if (item === null) int(-1)
    else {
      int(item.byteLength)
      buffer.set(item, at)
      at += item.byteLength
    }
  }
  return buffer
}

/**
 * @since 0.1.0
 * @category encoding
 */
export const texts = (items: ReadonlyArray<string | null>): Buffer =>
  array(
    textType,
    items.map((item) => (item === null ? null : Buffer.from(item)))
  )

/**
 * @since 0.1.0
 * @category encoding
 */
export const bytes = (items: ReadonlyArray<Uint8Array | null>): Buffer => array(bytesType, items)

/**
 * JSON texts as jsonb.
 *
 * @since 0.1.0
 * @category encoding
 */
export const jsons = (items: ReadonlyArray<string>): Buffer =>
  array(
    jsonType,
    items.map((item) => Buffer.from(`\u0001${item}`))
  )

/**
 * @since 0.1.0
 * @category encoding
 */
export const vector = (values: Float32Array): Buffer => {
  const buffer = Buffer.allocUnsafe(4 + 4 * values.length)
  buffer.writeUInt16BE(values.length, 0)
  buffer.writeUInt16BE(0, 2)
  for (let i = 0; i < values.length; i++) buffer.writeFloatBE(values[i]!, 4 + 4 * i)
  return buffer
}

/**
 * Vectors under the number that pgvector's type has in this database.
 *
 * @since 0.1.0
 * @category encoding
 */
export const vectors = (type: number, items: ReadonlyArray<Float32Array>): Buffer => array(type, items.map(vector))

/**
 * The vector that `vector_send` gave.
 *
 * @since 0.1.0
 * @category decoding
 */
export const toVector = (sent: Uint8Array): Float32Array => {
  // A copy, since floats must be aligned.
  const copy = Uint8Array.prototype.slice.call(sent, 4)
  const view = new DataView(copy.buffer, copy.byteOffset, copy.byteLength)
  const values = new Float32Array(copy.byteLength / 4)
  for (let i = 0; i < values.length; i++) values[i] = view.getFloat32(4 * i)
  return values
}
