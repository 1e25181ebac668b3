import * as FastCheck from "effect/FastCheck"
import type { FilterInput, JsonObject, JsonScalar, JsonValue } from "../../src/vector/index.js"

/** Few keys and values, so that filters hit: quotes, escapes, control characters, lookalikes, beyond the BMP. */
export const keys = ["a", "b", 'q"', "back\\slash", "new\nline", "$", "0", "[0]", "é", "😀", "__proto__", " "]

const numbers = [
  0,
  1,
  -1,
  2,
  0.1,
  1e-7,
  5e-324,
  1e21,
  2 ** 53,
  2 ** 53 + 2,
  2 ** 62,
  2 ** 63,
  -(2 ** 63),
  1.7e308,
  1 / 3
]

const strings = [
  "",
  "a",
  "A",
  "ab",
  "b",
  "1",
  "0",
  "true",
  "null",
  "é",
  "e\u0301",
  "\uffee",
  "😀",
  "x😀y",
  '"',
  "\\",
  "%",
  "\n"
]

const storable = FastCheck.string({ unit: "grapheme", maxLength: 4 }).filter((s) => !s.includes("\u0000"))

export const scalar: FastCheck.Arbitrary<JsonScalar> = FastCheck.oneof(
  { weight: 4, arbitrary: FastCheck.constantFrom(...numbers) },
  { weight: 1, arbitrary: FastCheck.double({ noNaN: true, noDefaultInfinity: true }) },
  { weight: 4, arbitrary: FastCheck.constantFrom(...strings) },
  { weight: 1, arbitrary: storable },
  { weight: 3, arbitrary: FastCheck.constantFrom<JsonScalar>(true, false, null) }
)

const key = FastCheck.constantFrom(...keys)

const { value } = FastCheck.letrec<{ value: JsonValue }>((tie) => ({
  value: FastCheck.oneof(
    { maxDepth: 3, withCrossShrink: true },
    { weight: 5, arbitrary: scalar },
    { weight: 2, arbitrary: FastCheck.array(tie("value"), { maxLength: 3 }) },
    { weight: 3, arbitrary: FastCheck.dictionary(key, tie("value"), { maxKeys: 3 }) as FastCheck.Arbitrary<JsonValue> }
  )
}))

export const metadata: FastCheck.Arbitrary<JsonObject> = FastCheck.dictionary(key, value, { maxKeys: 6 })

const ordered = FastCheck.oneof(FastCheck.constantFrom(...numbers), FastCheck.constantFrom(...strings))

const path = FastCheck.array(key, { minLength: 1, maxLength: 3 })
  .map((parts) => parts.join("."))
  .filter((path) => !path.startsWith("$"))

const operators = FastCheck.letrec<{ operators: FilterInput }>((tie) => ({
  operators: FastCheck.oneof(
    { maxDepth: 2 },
    ...["$eq", "$ne", "$contains"].map((name) => scalar.map((operand): FilterInput => ({ [name]: operand }))),
    ...["$gt", "$gte", "$lt", "$lte"].map((name) => ordered.map((operand): FilterInput => ({ [name]: operand }))),
    ...["$in", "$nin"].map((name) =>
      FastCheck.array(scalar, { maxLength: 4 }).map((operand): FilterInput => ({ [name]: operand as never }))
    ),
    FastCheck.boolean().map((operand): FilterInput => ({ $exists: operand })),
    FastCheck.tuple(ordered, ordered).map(([low, high]): FilterInput => ({ $gte: low, $lt: high })),
    tie("operators").map((operand): FilterInput => ({ $not: operand }))
  )
})).operators

/** Filters as written, all of them valid. */
export const filter: FastCheck.Arbitrary<FilterInput> = FastCheck.letrec<{ filter: FilterInput }>((tie) => ({
  filter: FastCheck.oneof(
    { maxDepth: 3, withCrossShrink: true },
    {
      weight: 6,
      arbitrary: FastCheck.tuple(path, FastCheck.oneof(scalar, operators)).map(
        ([path, condition]): FilterInput => ({ [path]: condition })
      )
    },
    {
      weight: 1,
      arbitrary: FastCheck.tuple(path, operators, path, operators).map(
        ([p, c, q, d]): FilterInput => ({ [p]: c, [q]: d })
      )
    },
    {
      weight: 2,
      arbitrary: FastCheck.array(tie("filter"), { minLength: 1, maxLength: 3 }).map(($and): FilterInput => ({ $and }))
    },
    {
      weight: 2,
      arbitrary: FastCheck.array(tie("filter"), { minLength: 1, maxLength: 3 }).map(($or): FilterInput => ({ $or }))
    },
    { weight: 1, arbitrary: tie("filter").map(($not): FilterInput => ({ $not })) }
  )
})).filter
