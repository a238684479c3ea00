import {CageError, ExitCode, messageOf} from '../core/errors.js'

/** In `attach` and `task exec` every failure of cage itself is 255, as with ssh; the command's own code passes. */
export function asTransportError(error: Error & {code?: string}): Error {
  // oclif's way of ending with a code.
  if (error.code === 'EEXIT') return error
  const {code, hints} = error instanceof CageError ? error : {code: 'USAGE', hints: []}
  return new CageError(messageOf(error), {code, hints, exitCode: ExitCode.transport, cause: error})
}
