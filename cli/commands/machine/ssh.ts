import {CageError, ExitCode} from '../../../core/errors.js'
import {runInForeground} from '../../../core/process.js'
import {ProjectCommand} from '../../project-command.js'

export default class MachineSsh extends ProjectCommand<typeof MachineSsh> {
  static override summary = 'Open a shell on the machine as its root, or run one command there'
  static override description =
    'For looking around and for repairs: the machine is behind the walls that hold the tasks. `kubectl` and `ctr` are there.'
  static override examples = [
    '<%= config.bin %> machine ssh',
    '<%= config.bin %> machine ssh -- kubectl get pods --all-namespaces',
  ]
  static override enableJsonFlag = false
  static override strict = false

  public async run(): Promise<void> {
    const project = await this.openProject()
    const {machine} = await project.machine()
    if ((await machine.state()) === 'stopped') {
      throw new CageError('the machine is stopped', {
        code: 'MACHINE_NOT_RUNNING',
        exitCode: ExitCode.precondition,
        hints: ['Run `cage up`.'],
      })
    }
    const separator = this.argv.indexOf('--')
    const command = separator < 0 ? [] : this.argv.slice(separator + 1)
    const argv = await machine.transport.interactive(command.length > 0 ? command : ['bash', '-l'])
    process.exitCode = await runInForeground(argv)
  }
}
