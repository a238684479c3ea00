import type {KubeObject} from '../core/kube-object.js'
import {taskClaims, taskConfig, taskGrant} from '../manifests/task-objects.js'
import {taskPod} from '../manifests/task-pod.js'
import type {TaskIdentity} from '../manifests/task-view.js'
import {Templates} from '../manifests/templates.js'
import type {AgentCommands} from './adapters/adapter.js'
import type {PreparedGrant, TaskBlueprint} from './blueprint.js'
import type {TaskRecord} from './task.js'

/** The objects of one task in one revision of its grant. */
export class TaskObjects {
  private readonly templates = new Templates()
  private readonly identity: TaskIdentity
  private readonly record: TaskRecord
  private readonly revision: number
  private readonly blueprint: TaskBlueprint

  constructor(options: {
    id: string
    task: string
    record: TaskRecord
    revision: number
    blueprint: TaskBlueprint
  }) {
    const {id, task, record} = options
    this.identity = {projectId: id, task, branch: record.branch, base: record.base, agent: record.agent}
    this.record = record
    this.revision = options.revision
    this.blueprint = options.blueprint
  }

  /** The anchor: lives from `task new` to `task rm`. */
  config(commands: AgentCommands, prompt: string | undefined): KubeObject {
    const {setup, files} = this.blueprint
    return taskConfig(
      {
        ...this.identity,
        revision: this.revision,
        record: JSON.stringify(this.record),
        files: {
          agent: `${this.record.agent}\n`,
          argv: nulSeparated(commands.argv),
          ...(commands.resume ? {resume: nulSeparated(commands.resume)} : {}),
          ...(prompt === undefined ? {} : {prompt: Buffer.from(prompt)}),
          ...(setup === undefined ? {} : {setup: Buffer.from(setup)}),
          ...(files === undefined ? {} : {files}),
        },
      },
      this.templates,
    )
  }

  /** Secret that only the sidecar mounts. */
  grant(grant: PreparedGrant): KubeObject {
    return taskGrant(
      {
        ...this.identity,
        revision: this.revision,
        files: {
          'egress.json': JSON.stringify(grant.egress),
          'credentials.json': JSON.stringify(grant.credentials),
          handle: grant.handle,
        },
      },
      this.templates,
    )
  }

  claims(): KubeObject[] {
    const {traits} = this.blueprint
    return taskClaims({...this.identity, traits, diskBytes: this.record.diskBytes}, this.templates)
  }

  pod(grant: PreparedGrant): KubeObject {
    const {traits, images, project, remote, fork, author, limits, fenceAllow, probeClosed, grantKey} =
      this.blueprint
    return taskPod(
      {
        ...this.identity,
        traits,
        images,
        revision: this.revision,
        project,
        remote,
        ...(fork === undefined ? {} : {fork}),
        existing: this.record.existing,
        author,
        env: {...this.blueprint.env, ...grant.env},
        limits,
        fenceAllow,
        probeClosed,
        grantKey,
      },
      this.templates,
    )
  }
}

function nulSeparated(argv: readonly string[]): Buffer {
  return Buffer.from(argv.map((word) => `${word}\0`).join(''))
}
