import type {ScanRule} from '../rule.js'
import {aiRules} from './ai.js'
import {cloudRules} from './cloud.js'
import {codeHostRules} from './code-hosts.js'
import {serviceRules} from './services.js'
import {shapeRules} from './shapes.js'

/** Every rule that cage scans for; what a finding means is decided elsewhere, by rule id and kind. */
export const ruleTable: readonly ScanRule[] = [
  ...codeHostRules,
  ...aiRules,
  ...cloudRules,
  ...serviceRules,
  ...shapeRules,
]
