import {existsSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import Handlebars from 'handlebars'
import {CageError, ExitCode} from '../core/errors.js'
import {packageRoot} from '../core/package-root.js'
import {shellQuote} from '../core/quote.js'
import {lintTemplate} from './template-lint.js'

/** Renders the template files of a directory: `templates/` unless told otherwise. */
export class Templates {
  private readonly compiled = new Map<string, {names: string[]; text: Handlebars.TemplateDelegate}>()

  private readonly directory: string

  constructor(directory = join(packageRoot(), 'templates')) {
    this.directory = directory
  }

  /** Text of `NAME.hbs` with the view's values. A missing value is an error. Errors: TEMPLATE_INVALID. */
  render(name: string, view: Readonly<Record<string, unknown>>): string {
    let template = this.compiled.get(name)
    if (!template) {
      template = this.compile(name)
      this.compiled.set(name, template)
    }
    const missing = template.names.filter((value) => view[value] === undefined)
    if (missing.length > 0) throw invalid(name, [`no value for ${missing.join(', ')}`])
    return template.text(view)
  }

  private compile(name: string): {names: string[]; text: Handlebars.TemplateDelegate} {
    const file = join(this.directory, `${name}.hbs`)
    if (!existsSync(file)) throw invalid(`${name}.hbs`, ['there is no such template'])
    const text = readFileSync(file, 'utf8')
    const problems = lintTemplate(text)
    if (problems.length > 0) throw invalid(file, problems)
    const handlebars = Handlebars.create()
    handlebars.registerHelper('yaml', yamlValue)
    handlebars.registerHelper('sh', (value: unknown) => shellQuote(String(value)))
    // Quoting is done by the two functions; the escaping for HTML would spoil it.
    return {
      // The lint leaves no other form.
      names: [...text.matchAll(/\{\{~?\s*(?:yaml|sh)\s+(\w+)\s*~?\}\}/g)].map(([, value]) => value ?? ''),
      text: handlebars.compile(text, {noEscape: true, strict: true, knownHelpers: {yaml: true, sh: true}}),
    }
  }
}

/** A value as JSON, which is YAML for scalars, lists and objects alike; no value can end its own line. */
function yamlValue(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\u009f\u2028\u2029\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function invalid(file: string, problems: readonly string[]): CageError {
  return new CageError(`template ${file}: ${problems.join('; ')}`, {
    code: 'TEMPLATE_INVALID',
    exitCode: ExitCode.usage,
  })
}
