/**
 * A schema as a plain predicate, for rows and payloads: the answer of `Schema.is` in a fraction of its time, since a
 * yes needs no account of where and why.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"

type Predicate = (value: unknown) => boolean

const options: SchemaAST.ParseOptions = { onExcessProperty: "error" }

const compile = (ast: SchemaAST.AST): Predicate => {
  switch (ast._tag) {
    case "StringKeyword":
      return (value) => typeof value === "string"
    case "NumberKeyword":
      return (value) => typeof value === "number"
    case "BooleanKeyword":
      return (value) => typeof value === "boolean"
    case "UnknownKeyword":
      return () => true
    case "Literal":
      return (value) => value === ast.literal
    case "Refinement": {
      const from = compile(ast.from)
      return (value) => from(value) && Option.isNone(ast.filter(value, options, ast))
    }
    case "Union": {
      const members = ast.types.map(compile)
      const literals = new Set<unknown>(ast.types.filter(SchemaAST.isLiteral).map(({ literal }) => literal))
      if (literals.size === members.length) return (value) => literals.has(value)
      const [first, second, ...others] = members
      if (first !== undefined && second !== undefined && others.length === 0) {
        return (value) => first(value) || second(value)
      }
      return (value) => members.some((member) => member(value))
    }
    case "Declaration": {
      const parse = ast.decodeUnknown(...ast.typeParameters)
      const is = whole(ast)
      return (value) => {
        const parsed = parse(value, options, ast)
        return Either.isEither(parsed) ? Either.isRight(parsed) : is(value)
      }
    }
    case "TypeLiteral": {
      if (ast.indexSignatures.length > 0 || ast.propertySignatures.length === 0) return whole(ast)
      const fields = ast.propertySignatures.map(({ isOptional, name, type }) => ({
        name,
        isOptional,
        is: compile(type)
      }))
      return (value) => {
        if (typeof value !== "object" || value === null) return false
        const object = value as Readonly<Record<PropertyKey, unknown>>
        let known = 0
        for (const { is, isOptional, name } of fields) {
          if (Object.hasOwn(object, name)) {
            if (!is(object[name])) return false
            known++
          } else if (!isOptional) return false
        }
        for (const _name in object) known--
        return known === 0
      }
    }
    default:
      return whole(ast)
  }
}

const whole = (ast: SchemaAST.AST): Predicate => ParseResult.is(Schema.make(ast), options)

/**
 * Whether a value is of a schema's type as it is, without a property that the schema does not name.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <A, I>(schema: Schema.Schema<A, I>): ((value: unknown) => value is A) =>
  compile(SchemaAST.typeAST(schema.ast)) as (value: unknown) => value is A

const omit = (ast: SchemaAST.AST, value: unknown): unknown => {
  switch (ast._tag) {
    case "Refinement":
      return omit(ast.from, value)
    case "Union":
      return ast.types.reduce((left, member) => omit(member, left), value)
    case "TupleType": {
      if (!Array.isArray(value)) return value
      return value.map((item, index) => {
        const { type } = ast.elements[index] ?? ast.rest[0] ?? {}
        return type === undefined ? item : omit(type, item)
      })
    }
    case "TypeLiteral": {
      if (typeof value !== "object" || value === null || Array.isArray(value)) return value
      const object: Record<PropertyKey, unknown> = { ...value }
      for (const { isOptional, name, type } of ast.propertySignatures) {
        if (!Object.hasOwn(object, name)) continue
        if (object[name] !== undefined) object[name] = omit(type, object[name])
        else if (isOptional) delete object[name]
      }
      return object
    }
    default:
      return value
  }
}

/**
 * Leaves out of a value what is undefined where its schema lets it be left out, as JavaScript means it.
 *
 * @since 0.1.0
 * @category conversions
 */
export const withoutUndefined = <A, I>(schema: Schema.Schema<A, I>): ((value: unknown) => unknown) => {
  const ast = SchemaAST.typeAST(schema.ast)
  return (value) => omit(ast, value)
}
