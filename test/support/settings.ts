import {buildSettings} from '../../policy/build.js'
import type {OperatorFile, ProjectFile} from '../../policy/file-types.js'
import type {ProjectSettings} from '../../policy/settings.js'

/** Settings of the project `shop` without files on disk; what is given counts as valid. */
export function settingsOf(project?: ProjectFile, operator: OperatorFile = {}): ProjectSettings {
  return buildSettings({
    name: 'shop',
    folderName: 'shop',
    operator,
    certificates: new Map([['ca.pem', 'PEM']]),
    home: '/home/me',
    ...(project ? {project} : {}),
  })
}
