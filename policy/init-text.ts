/**
 * The cage.yaml that `cage init` writes: nothing is set, every line that is commented out is valid when it is taken in.
 * A test loads it both ways.
 */
export function initialCageYaml(project: string): string {
  return `# What agents in this repository may use and reach. Every line is optional; what is commented out shows the default
# or an example. Nothing here can widen anything by itself: what asks for more waits for \`cage trust\`.
# All fields: docs/reference/cage-yaml.md
version: 1
#project: ${project}

#machine: {driver: auto, cpus: 4, memory: 8GiB, disk: 60GiB}

#repository:
#  upstream: hosted        # a bare repository inside the cage; or https://github.com/org/app
#  base: main              # tasks start from this branch

#task:
#  agent: claude           # claude or shell
#  cpu: 2
#  memory: 4GiB
#  disk: 10GiB
#  env: {NODE_ENV: test}   # no secrets here: those are credentials, below
#  files: [.env.test]      # untracked files that the task needs
#  setup: ./scripts/setup.sh

# Sets without order: deny beats allow beats audit; what nothing names is denied.
#egress:
#  presets: [npm, pypi]    # also anthropic, openai, google, crates, go, maven, debian
#  allow:
#    - {host: api.example.com, methods: [GET, HEAD], paths: ["/v1/**"]}
#  deny:
#    - {host: api.example.com, paths: ["/v1/admin/**"]}
#  audit: []               # let through, recorded as "would be denied"

# The agent sees a placeholder; the value is put on the wire for this one host.
#credentials:
#  - name: example
#    from: {dotenv: EXAMPLE_TOKEN}    # or {env: NAME}, {keychain: service/account}
#    inject: {host: api.example.com, header: authorization, template: "Bearer {}"}
#    as: EXAMPLE_TOKEN

#git:
#  push: {force: false, delete: false, tags: [], deny: [ci, ".gitmodules", "**/.gitattributes"], maxBlob: 10MiB}
#  secrets: {onFinding: deny}
`
}
