/** Credentials that agents which come with cage are known to use: source, host and header need no approval. */
export interface KnownTriple {
  /** variable that holds the value, in the environment or in `.env` */
  variable: string
  host: string
  header: string
  template: string
}

export const knownTriples: readonly KnownTriple[] = [
  {
    variable: 'ANTHROPIC_AUTH_TOKEN',
    host: 'api.anthropic.com',
    header: 'authorization',
    template: 'Bearer {}',
  },
  {
    variable: 'CLAUDE_CODE_OAUTH_TOKEN',
    host: 'api.anthropic.com',
    header: 'authorization',
    template: 'Bearer {}',
  },
  {variable: 'ANTHROPIC_API_KEY', host: 'api.anthropic.com', header: 'x-api-key', template: '{}'},
  {variable: 'OPENAI_API_KEY', host: 'api.openai.com', header: 'authorization', template: 'Bearer {}'},
  {
    variable: 'GEMINI_API_KEY',
    host: 'generativelanguage.googleapis.com',
    header: 'x-goog-api-key',
    template: '{}',
  },
]

/** What an agent needs by itself; made from its adapter. */
export interface AgentNeeds {
  name: string
  presets: readonly string[]
  credential?: {name: string; variable: string; host: string; header: string; template: string}
}
