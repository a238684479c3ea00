import {expect} from '@jest/globals'
import type {TestDispatcher, TestTask} from './dispatcher.js'
import type {Finished} from './dispatcher-processes.js'

/** A task's branch in the clone `agent`, from its first commit to what becomes of its pushes. */
export class Pushes {
  readonly door: TestDispatcher
  task: TestTask
  readonly branch: string

  constructor(door: TestDispatcher, task: TestTask, branch: string) {
    this.door = door
    this.task = task
    this.branch = branch
  }

  /** the branch, or what is named instead */
  push(...args: string[]): Finished {
    return this.door.gitAs(this.task, 'agent', 'push', 'origin', ...(args.length > 0 ? args : [this.branch]))
  }

  /** Judged by exit code and the hosted refs. @returns what git says */
  refused(reason: RegExp, ...args: string[]): string {
    const before = this.door.refs()
    const {code, stderr} = this.push(...args)
    expect({code, stderr}).toEqual({code: 1, stderr: expect.stringMatching(reason)})
    expect(this.door.refs()).toEqual(before)
    return stderr
  }

  accepted(...args: string[]): string {
    const {code, stderr} = this.push(...args)
    expect({code, stderr}).toEqual({code: 0, stderr: expect.any(String)})
    return stderr
  }

  commit(file: string, content: string): string {
    return this.door.box.commit('agent', this.branch, file, content)
  }

  pointTo(id: string): void {
    this.door.box.git('agent', 'update-ref', `refs/heads/${this.branch}`, id)
  }
}
