import {CageError, ExitCode} from '../core/errors.js'
import type {KubeObject} from '../core/kube-object.js'
import {annotation, clusterNames} from '../core/layout.js'
import {parseObjects} from './objects.js'
import {bytesQuantity, KiB, MiB} from './quantity.js'
import {taskAnnotations, taskLabels} from './task-pod.js'
import type {TaskClaimsView, TaskConfigView, TaskGrantView} from './task-view.js'
import {Templates} from './templates.js'

/** bytes of the volume for a task's audit and counters */
export const ledgerBytes = 256 * MiB
/** bytes that one ConfigMap or Secret may hold; the cluster refuses more than 1 MiB in all */
const OBJECT_BYTES = 900 * KiB

/** The claims of a task: home, ledger. */
export function taskClaims(view: TaskClaimsView, templates: Templates = new Templates()): KubeObject[] {
  const text = templates.render('task-claims.yaml', {
    home: clusterNames.home(view.task),
    ledger: clusterNames.ledger(view.task),
    namespace: clusterNames.taskNamespace(view.projectId),
    labels: taskLabels(view),
    storageClass: view.traits.storageClass ?? null,
    homeSize: bytesQuantity(view.diskBytes),
    ledgerSize: bytesQuantity(ledgerBytes),
  })
  return parseObjects('task-claims.yaml', text, ['PersistentVolumeClaim', 'PersistentVolumeClaim'])
}

/** The task's ConfigMap. Errors: TASK_FILES_TOO_LARGE. */
export function taskConfig(view: TaskConfigView, templates: Templates = new Templates()): KubeObject {
  const files = Object.entries(view.files)
  const total = files.reduce((sum, [, content]) => sum + Buffer.byteLength(content), view.record.length)
  if (total > OBJECT_BYTES) {
    throw new CageError(
      `the prompt and files of task ${view.task} have ${Math.ceil(total / KiB)} KiB; at most ${OBJECT_BYTES / KiB} KiB travel with a task`,
      {code: 'TASK_FILES_TOO_LARGE', exitCode: ExitCode.usage, hints: ['Put large files on the branch.']},
    )
  }
  const text = files.filter((file): file is [string, string] => typeof file[1] === 'string')
  const bytes = files.filter((file): file is [string, Buffer] => typeof file[1] !== 'string')
  return only(
    parseObjects(
      'task-config.yaml',
      templates.render('task-config.yaml', {
        name: clusterNames.config(view.task),
        namespace: clusterNames.taskNamespace(view.projectId),
        labels: taskLabels(view),
        annotations: {
          ...taskAnnotations(view),
          [annotation.record]: view.record,
          [annotation.revision]: String(view.revision),
        },
        data: Object.fromEntries(text),
        binaryData: Object.fromEntries(bytes.map(([name, content]) => [name, content.toString('base64')])),
      }),
      ['ConfigMap'],
    ),
  )
}

/** The Secret that only the sidecar mounts. */
export function taskGrant(view: TaskGrantView, templates: Templates = new Templates()): KubeObject {
  return only(
    parseObjects(
      'task-grant.yaml',
      templates.render('task-grant.yaml', {
        name: clusterNames.grant(view.task),
        namespace: clusterNames.taskNamespace(view.projectId),
        labels: taskLabels(view),
        annotations: {[annotation.revision]: String(view.revision)},
        data: Object.fromEntries(
          Object.entries(view.files).map(([name, content]) => [
            name,
            Buffer.from(content).toString('base64'),
          ]),
        ),
      }),
      ['Secret'],
    ),
  )
}

function only(objects: KubeObject[]): KubeObject {
  const [object] = objects
  if (!object) throw new CageError('a template renders nothing', {code: 'MANIFEST_INVALID'})
  return object
}
