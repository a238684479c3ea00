import {nameWidening, parseApprovals, requireApproval, wideningOf} from '../policy/trust.js'
import {readIfThere} from '../provision/state/files.js'
import type {ProjectContext} from './project-context.js'

/** Everything that cage.yaml asks for: tasks need it. Errors: NOT_TRUSTED, exit 4. */
export async function requireTrust({files, settings}: ProjectContext): Promise<void> {
  requireApproval(wideningOf(settings), parseApprovals(await readIfThere(files.approvals)))
}

/** The name that cage.yaml goes by: the machine needs it, as it is made to the settings of that name. Errors: NOT_TRUSTED, exit 4. */
export async function requireName({files, settings}: ProjectContext): Promise<void> {
  requireApproval(nameWidening(settings), parseApprovals(await readIfThere(files.approvals)))
}
