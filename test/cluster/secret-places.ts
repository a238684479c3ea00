import {expect} from '@jest/globals'
import {findInContainer, findInFiles} from '../support/container-search.js'
import {cage, cageJson, cageOk, onMachine, scratch} from './harness.js'

/** Every container that can hold a secret. */
const CONTAINERS = ['agent', 'sidecar', 'gate', 'git']

/** Ids of containers by name. */
async function containersOf(namespace: string, pod: string): Promise<Map<string, string>> {
  const path = '{range .status.containerStatuses[*]}{.name}={.containerID}{"\\n"}{end}'
  const statuses = [path, path.replace('containerStatuses', 'initContainerStatuses')].join('')
  const {stdout} = await onMachine(`kubectl get pod -n ${namespace} ${pod} -o 'jsonpath=${statuses}'`)
  const lines = stdout.split('\n').filter((line) => line.includes('='))
  return new Map(
    lines.map((line): [string, string] => {
      const [name = '', id = ''] = line.split('=')
      return [name, id.replace('containerd://', '')]
    }),
  )
}

/** There is one. */
export async function dispatcherPod(namespace: string): Promise<string> {
  const {stdout} = await onMachine(`kubectl get pods -n ${namespace} -o 'jsonpath={.items[*].metadata.name}'`)
  return stdout.trim()
}

/** Where each text is: in the containers of the task and the dispatcher, what Kubernetes keeps, logs, records, state. */
export async function placesOf(task: string, texts: readonly string[]): Promise<string[][]> {
  const {namespace, pod} = await cageJson<{namespace: string; pod: string}>(['task', 'show', task])
  const dispatcher = `${namespace}-dispatcher`
  const running = [
    ...(await containersOf(namespace, pod)),
    ...(await containersOf(dispatcher, await dispatcherPod(dispatcher))),
  ].filter(([name]) => CONTAINERS.includes(name))
  expect(running).toHaveLength(CONTAINERS.length)
  const inside = running.map(([name, id]) => ({name, found: findInContainer(id, texts)}))
  const audit = await cageOk(['audit', '--json'])
  const search = 'grep -rlaF -f - /var/log/pods /var/log/containers /var/lib/etcd'
  return Promise.all(
    texts.map(async (text, index) => {
      const kept = await cage(['machine', 'ssh', '--', 'bash', '-c', search], {input: `${text}\n`})
      return [
        ...inside.flatMap(({name, found}) => (found[index] ?? []).map((where) => `${name}: ${where}`)),
        ...kept.stdout.split('\n').filter(Boolean),
        ...(audit.includes(text) ? ['audit'] : []),
        // The disk of the machine is what was looked into from inside.
        ...findInFiles(scratch, ['state'], text, ['machine']),
      ]
    }),
  )
}
