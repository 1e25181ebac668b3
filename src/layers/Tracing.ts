/**
 * Spans, which cost nothing where nobody traces.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Tracer from "effect/Tracer"

const defaultTracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/**
 * Whether somebody traces a fiber: the tracer that a program has by default keeps nothing.
 *
 * @since 0.1.0
 * @category tracing
 */
export const isTraced = (fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean => fiber.currentTracer !== defaultTracer

/**
 * An effect as a span, where somebody traces.
 *
 * @since 0.1.0
 * @category tracing
 */
export const traced = <A, E, R>(
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  name: string,
  effect: Effect.Effect<A, E, R>,
  options: Tracer.SpanOptions = {}
): Effect.Effect<A, E, R> =>
  isTraced(fiber) ? Effect.withSpan(effect, name, { ...options, captureStackTrace: false }) : effect
