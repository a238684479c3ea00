import type {FakeRepository, FakeWorld} from './fake-github-world.js'

type Json = (status: number, value: unknown, headers?: Record<string, string>) => true
type Raw = (status: number, headers: Record<string, string>, text?: string) => true

/** REST over the world: the reads that gh makes, the writes that could do harm. Whatever it does not know it notes as done. */
export function answerRest(
  world: FakeWorld,
  {method, url, body, accept}: {method: string; url: string; body: string; accept: string},
  json: Json,
  raw: Raw,
  fileHost: string,
): true {
  const {pathname, searchParams} = new URL(url, 'https://api.github.com')
  if (pathname === '/') return json(200, {current_user_url: 'https://api.github.com/user'})
  if (pathname === '/rate_limit') return json(200, {resources: {}, rate: {limit: 5000, remaining: 4999}})
  if (pathname.startsWith('/search/'))
    return json(200, {total_count: 0, incomplete_results: false, items: []})
  const match = /^\/repos\/([^/]+)\/([^/]+)(\/.*)?$/.exec(pathname)
  const repository = match && world.repository(match[1] ?? '', match[2] ?? '')
  if (!repository) {
    if (method !== 'GET') world.changes.push(`${method} ${pathname}`)
    return json(404, {message: 'Not Found'})
  }
  const full = `${repository.owner}/${repository.name}`
  const at = (pattern: RegExp) => pattern.exec(match[3] ?? '')
  const run = (id: number) => {
    const found = repository.runs.find((one) => one.id === id)
    return (
      found && {
        id,
        name: 'CI',
        display_title: 'a run',
        head_branch: found.branch,
        head_sha: '0123456789abcdef0123456789abcdef01234567',
        head_repository: {
          full_name: found.fork === undefined ? full : `${found.fork}/${repository.name}`,
          owner: {login: found.fork ?? repository.owner},
          name: repository.name,
        },
        run_attempt: found.attempt,
        run_number: 1,
        event: 'push',
        status: 'completed',
        conclusion: 'success',
        workflow_id: 5,
        check_suite_id: 3,
        created_at: '2026-01-01T00:00:00Z',
        updated_at: '2026-01-01T00:00:00Z',
        run_started_at: '2026-01-01T00:00:00Z',
        url: `https://api.github.com/repos/${full}/actions/runs/${id}`,
        html_url: `https://github.com/${full}/actions/runs/${id}`,
        jobs_url: `https://api.github.com/repos/${full}/actions/runs/${id}/jobs`,
        logs_url: `https://api.github.com/repos/${full}/actions/runs/${id}/logs`,
      }
    )
  }
  const job = (id: number) => ({
    id,
    run_id: id === 9 ? 70 : 71,
    name: 'build',
    status: 'completed',
    conclusion: 'success',
    steps: [{name: 'Run make', number: 1, status: 'completed', conclusion: 'success'}],
    started_at: '2026-01-01T00:00:00Z',
    completed_at: '2026-01-01T00:00:00Z',
    html_url: `https://github.com/${full}/actions/runs/70/job/${id}`,
    url: `https://api.github.com/repos/${full}/actions/jobs/${id}`,
  })
  const input = body === '' ? {} : (JSON.parse(body) as Record<string, string>)
  const number = (found: RegExpExecArray | null) => Number(found?.[1])
  let found: RegExpExecArray | null
  if (method === 'GET') {
    if ((found = at(/^\/pulls\/(\d+)$/))) {
      const pull = repository.pulls.find((one) => one.number === number(found))
      if (!pull) return json(404, {message: 'Not Found'})
      if (accept.includes('diff'))
        return raw(200, {'content-type': 'application/vnd.github.diff'}, 'diff --git a/x b/x\n+a line\n')
      return json(200, {
        number: pull.number,
        node_id: pull.id,
        title: pull.title,
        head: {ref: pull.head},
        base: {ref: pull.base},
      })
    }
    if (at(/^\/pulls$/)) {
      const next = `<https://api.github.com/repositories/1/pulls?page=2>; rel="next"`
      const page = searchParams.get('page') === '2' ? repository.pulls.slice(1) : repository.pulls.slice(0, 1)
      return json(
        200,
        page.map((pull) => ({number: pull.number, title: pull.title})),
        searchParams.has('page') ? {} : {link: next},
      )
    }
    if ((found = at(/^\/issues\/(\d+)$/))) {
      const thing = [...repository.issues, ...repository.pulls].find((one) => one.number === number(found))
      return thing
        ? json(200, {number: thing.number, node_id: thing.id, title: thing.title})
        : json(404, {message: 'Not Found'})
    }
    if ((found = at(/^\/issues\/comments\/(\d+)$/))) {
      const all = [...repository.issues, ...repository.pulls].flatMap(({comments}) => comments)
      const comment = all.find((one) => one.databaseId === number(found))
      return comment
        ? json(200, {id: comment.databaseId, node_id: comment.id})
        : json(404, {message: 'Not Found'})
    }
    if (at(/^\/actions\/runs\/\d+\/(?:attempts\/\d+\/)?jobs$/))
      return json(200, {total_count: 1, jobs: [job(9)]})
    if (at(/^\/actions\/(?:runs|jobs)\/\d+(?:\/attempts\/\d+)?\/logs$/))
      return raw(302, {location: `https://${fileHost}/logs.zip?sig=SIGNATURE`})
    if ((found = at(/^\/actions\/runs\/(\d+)(?:\/attempts\/\d+)?$/))) {
      const one = run(number(found))
      return one ? json(200, one) : json(404, {message: 'Not Found'})
    }
    if ((found = at(/^\/actions\/jobs\/(\d+)$/))) return json(200, job(number(found)))
    if (at(/^\/actions\/runs$/))
      return json(200, {total_count: 2, workflow_runs: repository.runs.map(({id}) => run(id))})
    if (at(/^\/actions\/workflows\/\d+$/))
      return json(200, {id: 5, name: 'CI', path: '.github/workflows/ci.yml', state: 'active'})
    if (at(/^\/actions\/workflows$/))
      return json(200, {total_count: 1, workflows: [{id: 5, name: 'CI', path: 'ci.yml', state: 'active'}]})
    if (at(/\/artifacts$/)) return json(200, {total_count: 0, artifacts: []})
    if (at(/\/annotations$/)) return json(200, [])
    if (at(/^\/readme$/))
      return json(200, {
        name: 'README.md',
        content: Buffer.from('read me\n').toString('base64'),
        encoding: 'base64',
      })
    return json(200, {
      id: 1,
      node_id: repository.id,
      name: repository.name,
      full_name: full,
      default_branch: 'main',
      ...shownFork(repository),
    })
  }
  if (method === 'POST' && at(/^\/pulls$/)) {
    const {title = '', body: text = '', head = '', base = '', maintainer_can_modify: may} = input
    let pull
    try {
      pull = world.open(repository, {title, body: text, head, base, helpers: String(may ?? true) === 'true'})
    } catch (error) {
      return json(422, {message: `Validation Failed: ${(error as Error).message}`})
    }
    return json(201, {number: pull.number, html_url: `https://github.com/${full}/pull/${pull.number}`})
  }
  if (method === 'POST' && (found = at(/^\/issues\/(\d+)\/comments$/))) {
    const thing = [...repository.issues, ...repository.pulls].find((one) => one.number === number(found))
    if (!thing) return json(404, {message: 'Not Found'})
    return json(201, {
      id: world.say(thing.comments, `${repository.name}#${thing.number}`, input['body'] ?? '').databaseId,
    })
  }
  world.changes.push(`${method} ${pathname}`)
  return json(200, {done: true})
}

/** A repository as lists of repositories have it: what it was forked from is said only where one is asked for. */
export function listed(repository: FakeRepository): object {
  const {owner, name, parent} = repository
  return {full_name: `${owner}/${name}`, name, owner: {login: owner}, fork: parent !== undefined}
}

function shownFork({parent, archived = false}: FakeRepository): object {
  const origin = parent && {full_name: `${parent.owner}/${parent.name}`}
  return {archived, fork: parent !== undefined, ...(origin ? {parent: origin, source: origin} : {})}
}
