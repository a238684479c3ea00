import type {Transform} from 'node:stream'
import {isModelHost} from '../../policy/models.js'
import {Denial} from '../denial.js'
import type {Outcome} from '../forward.js'
import type {Visit} from '../visit.js'
import type {Amount, Limits, Need, Reservation} from './budget.js'
import {changed, outputOf, readCall, shapeOf, type ModelCall, type Shape} from './calls.js'
import {Meter} from './meter.js'
import {costOf, mostOf, noUsage, priceOf, tokensOf, type Price, type Usage} from './prices.js'
import type {Seen} from './usage.js'

/** Whole conversations with pictures. */
export const MODEL_BODY_BYTES = 16 * 1024 * 1024
const CHARACTERS_PER_TOKEN = 4
const STAGES = [95, 90, 80] as const

/** A request to a model that is on its way: paid for in advance. */
export interface RunningCall {
  body: Buffer
  meter: (status: number, contentType: string, stop: () => void) => Transform | undefined
  /** Gives back what was not needed, and says in the record what was. */
  settle(outcome: Outcome | undefined): Promise<void>
}

/** The shape of a request that costs tokens, undefined for every other. Throws Denial `budget_unmetered`. */
export function meteredShape({facts, enforcement, tunnel}: Visit): Shape | undefined {
  const isRoute = enforcement.route(facts.host) !== undefined
  if (!isRoute && !isModelHost(facts.host)) return undefined
  const shape = tunnel ? undefined : shapeOf(facts.method, facts.path)
  if (shape === 'free') return undefined
  if (shape === undefined && !isRoute && isLimited(enforcement.grant.budget))
    throw new Denial('budget_unmetered')
  return shape
}

/** Throws Denial when the budget does not bear the call. */
export async function beginCall(visit: Visit, shape: Shape, bytes: Buffer): Promise<RunningCall> {
  const {facts, enforcement, budget, note} = visit
  const limits = enforcement.grant.budget
  const call = readCall(shape, facts.path, bytes)
  const price = priceOf(call.model, enforcement.route(facts.host) !== undefined)
  const need = needOf(call, price)
  const reservation = await budget.reserve(need, limits)
  const lowered = reservation.output < need.output && call.canLower
  const used = budget.used(limits)
  const stage = STAGES.find((percent) => used * 100 >= percent)
  if (stage !== undefined) note.told = stage
  const body = changed(call, bytes, {
    ...(lowered ? {output: Math.floor(reservation.output / call.copies)} : {}),
    ...(stage === undefined ? {} : {text: steeringText(stage)}),
  })
  const running = new Running(call, price, reservation, mostAmount(call, price, reservation.output))
  return {
    body,
    meter: (status, contentType, stop) => running.open(status, contentType, stop),
    settle: async (outcome) => {
      const {usage, amount, estimated} = await running.close(outcome, visit)
      note.usage = {
        model: call.model,
        input: usage.input + usage.cacheRead + usage.cacheWrite + usage.cacheWriteLong,
        output: usage.output,
        usd: amount.nanoUsd / 1e9,
        ...(estimated ? {estimated} : {}),
      }
      // What cannot be written stays set aside: the next call then finds the counters unavailable.
      await reservation.settle(amount).catch(() => undefined)
    },
  }
}

class Running {
  readonly #call: ModelCall
  readonly #price: Price
  readonly #reservation: Reservation
  readonly #most: Amount
  #meter: Meter | undefined

  constructor(call: ModelCall, price: Price, reservation: Reservation, most: Amount) {
    this.#call = call
    this.#price = price
    this.#reservation = reservation
    this.#most = most
  }

  open(status: number, contentType: string, stop: () => void): Transform | undefined {
    if (status < 200 || status > 299) return undefined
    this.#meter = new Meter({
      shape: this.#call.shape,
      streamed: contentType.startsWith('text/event-stream'),
      hidesUsage: this.#call.needsUsage,
      isOver: (seen) => this.#reservation.isOver(this.#amount(observed(seen))),
      stop,
    })
    return this.#meter
  }

  async close(
    outcome: Outcome | undefined,
    {response}: Visit,
  ): Promise<{usage: Usage; amount: Amount; estimated: boolean}> {
    const {status, failure} = outcome ?? {}
    const nothing = {usage: noUsage, amount: {tokens: 0, nanoUsd: 0}, estimated: false}
    // Refused by the provider, or never sent.
    if (status === undefined ? failure instanceof Denial : status < 200 || status > 299) return nothing
    const meter = this.#meter
    if (meter && !failure) await finished(meter, response)
    const seen = meter?.seen
    if (seen?.final) return {usage: seen.usage, amount: this.#amount(seen.usage), estimated: false}
    const usage = seen ? observed(seen) : noUsage
    const amount = this.#amount(usage)
    return {
      usage,
      amount: {
        tokens: Math.max(amount.tokens, this.#most.tokens),
        nanoUsd: Math.max(amount.nanoUsd, this.#most.nanoUsd),
      },
      estimated: true,
    }
  }

  #amount(usage: Usage): Amount {
    return {tokens: tokensOf(usage), nanoUsd: costOf(this.#price, usage, this.#call.factor)}
  }
}

/** What is known while the provider has not said it all. */
function observed({usage, written}: Seen): Usage {
  return {...usage, output: Math.max(usage.output, Math.ceil(written / CHARACTERS_PER_TOKEN))}
}

function needOf(call: ModelCall, price: Price): Need {
  const output = outputOf(call)
  const input = {tokens: call.input, nanoUsd: mostOf(price, call.input, 0, call.factor)}
  const all = mostOf(price, call.input, output, call.factor)
  return {
    input,
    output,
    nanoUsdPerOutput: output === 0 ? 0 : Math.ceil((all - input.nanoUsd) / output),
    floor: Math.min(call.outputFloor * call.copies, output),
  }
}

function mostAmount(call: ModelCall, price: Price, output: number): Amount {
  return {tokens: call.input + output, nanoUsd: mostOf(price, call.input, output, call.factor)}
}

function isLimited({tokens, usd}: Limits): boolean {
  return tokens !== undefined || usd !== undefined
}

function steeringText(percent: number): string {
  return `[cage] ${percent} % of this task's budget is used. Bring the work to an end now: finish the step you are at, commit and push. When the budget is spent, every request to the model is refused.`
}

/** Until the meter has read all of the answer, or nobody waits for it any more. */
function finished(meter: Meter, response: Visit['response']): Promise<void> {
  if (meter.writableFinished || response.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    meter.once('finish', resolve)
    response.once('close', resolve)
  })
}
