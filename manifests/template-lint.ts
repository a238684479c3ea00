import Handlebars from 'handlebars'

/** Every value goes through one of these, with one name as its argument. */
const functions = ['yaml', 'sh']

/** What is wrong with a template, as `LINE:COLUMN text`; empty = it can do nothing but insert quoted values. */
export function lintTemplate(text: string): string[] {
  const problems: string[] = []
  const report = (node: hbs.AST.Node, what: string) =>
    problems.push(`${node.loc.start.line}:${node.loc.start.column + 1} ${what}`)
  class Lint extends Handlebars.Visitor {
    override MustacheStatement(mustache: hbs.AST.MustacheStatement): void {
      const name = (mustache.path as Partial<hbs.AST.PathExpression>).original
      const [value, ...more] = mustache.params
      if (!mustache.escaped) report(mustache, 'a value without quoting')
      else if (typeof name !== 'string' || !functions.includes(name)) {
        report(mustache, `{{${String(name)}}}: write {{yaml name}} or {{sh name}}`)
      } else if (
        value?.type !== 'PathExpression' ||
        more.length > 0 ||
        (mustache.hash as unknown) !== undefined
      ) {
        report(mustache, `{{${name} …}} takes one name`)
      } else if (!/^[a-zA-Z][a-zA-Z0-9]*$/.test((value as hbs.AST.PathExpression).original)) {
        report(mustache, `{{${name} …}} takes a plain name`)
      }
    }
    override BlockStatement(node: hbs.AST.BlockStatement): void {
      report(node, 'no logic in templates')
    }
    override PartialStatement(node: hbs.AST.PartialStatement): void {
      report(node, 'no partials')
    }
    override PartialBlockStatement(node: hbs.AST.PartialBlockStatement): void {
      report(node, 'no partials')
    }
    override DecoratorBlock(node: hbs.AST.DecoratorBlock): void {
      report(node, 'no decorators')
    }
    override Decorator(node: hbs.AST.Decorator): void {
      report(node, 'no decorators')
    }
  }
  try {
    new Lint().accept(Handlebars.parse(text))
  } catch (error) {
    problems.push(`1:1 ${error instanceof Error ? error.message : String(error)}`)
  }
  return problems
}
