import {Args} from '@oclif/core'

/** `[task]`: a name or a branch; may be left out while there is only one. */
export const taskArgument = Args.string({
  description: 'name or branch of the task; may be left out when there is only one',
  required: false,
})
