import {presets} from './presets.js'

const hosts: ReadonlySet<string> = new Set(Object.values(presets).flatMap(({modelHosts}) => modelHosts ?? []))

/** Whether cage knows the host as a provider of models: what it says about usage is believed. */
export function isModelHost(host: string): boolean {
  return hosts.has(host)
}
