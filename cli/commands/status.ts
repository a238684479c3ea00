import type {Task} from '../../tasks/task.js'
import {table} from '../ui/table.js'
import {ProjectCommand} from '../project-command.js'
import type {ProjectStatus} from '../project-status.js'

export default class Status extends ProjectCommand<typeof Status> {
  static override summary = 'Show what runs of this project and which openings exist'

  public async run(): Promise<ProjectStatus & {tasks: Task[]}> {
    const project = await this.openProject()
    const {statusOf} = await import('../project-status.js')
    const status = await statusOf(project)
    const tasks = status.cluster.ready ? await this.tasks(project) : []
    const {machine, cluster, dispatcher, openings} = status
    const yes = (is: boolean, word: string) => (is ? word : `not ${word}`)
    this.log(
      table(
        ['part', 'state', 'detail'],
        [
          ['machine', machine.state, machine.driver],
          ...(machine.upkeep ?? []).map(({name, on, detail}) => [
            `machine ${name}`,
            on ? 'on' : 'off',
            detail,
          ]),
          ['cluster', yes(cluster.ready, 'ready'), `${cluster.kind} ${cluster.version}`.trim()],
          [
            'user namespaces',
            cluster.userNamespaces ? 'on' : 'off',
            'root in a pod is nobody on the machine',
          ],
          ['network policy', cluster.networkPolicy, ''],
          ['dispatcher', yes(dispatcher.ready, 'ready'), ''],
          ...tasks.map(({name, phase, branch, agent}) => [
            `task ${name}`,
            phase,
            `${branch} (${agent.name}: ${agent.state})`,
          ]),
          ...openings.map(({address, port, why}) => [
            'opening',
            port === 0 ? address : `${address}:${port}`,
            why,
          ]),
        ],
      ),
    )
    if (!['running', 'none'].includes(machine.state) || !dispatcher.ready)
      this.log('\nRun `cage up`: it makes or repairs what is missing.')
    return {...status, tasks}
  }

  private async tasks(project: Awaited<ReturnType<typeof this.openProject>>): Promise<Task[]> {
    const {taskContext} = await import('../task-context.js')
    const {listTasks} = await import('../../tasks/list.js')
    return listTasks(await taskContext(project))
  }
}
