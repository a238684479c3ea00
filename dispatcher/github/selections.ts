/**
 * What a query may select. The installation token bounds what GitHub answers; these lists keep a query to this
 * repository, also with a token that could see more. Fields go by name, whatever the type: a test reads from the schema
 * which fields lead to repositories, people and organizations, and fails when one is in none of the lists.
 */

/** Of the query itself. */
export const rootFields = new Set([
  '__type',
  '__typename',
  'node',
  'nodes',
  'rateLimit',
  'repository',
  'search',
  'viewer',
])

/** They lead to what is not this repository, or to what nobody needs to build a branch. */
export const deniedFields = new Set([
  'branchProtectionRules',
  'collaborators',
  'contributionsCollection',
  'deployKeys',
  'enterprise',
  'enterprises',
  'forks',
  'gist',
  'gists',
  'invitations',
  'migrations',
  'organizations',
  'organizationVerifiedDomainEmails',
  'outsideCollaborators',
  'ownedRepositories',
  'pinnableItems',
  'pinnedItems',
  'itemShowcase',
  'pendingMembers',
  'publicKeys',
  'repositories',
  'repositoriesContributedTo',
  'repositoryMigrations',
  'savedReplies',
  'starredRepositories',
  'topRepositories',
  'userNamespaceRepositories',
  'vulnerabilityAlerts',
  'watching',
])

/** Other things than this repository: what they are may be read, not what is in them. */
export const shallowFields = new Set([
  'baseRepository',
  'commitRepository',
  'fromRepository',
  'headRepository',
  'organization',
  'owner',
  'headRepositoryOwner',
  'parent',
  'repository',
  'templateRepository',
  'viewer',
])

/** Inside something shallow, only these have fields of their own, which are shallow too. */
export const namesOnly = new Set([
  'owner',
  'repository',
  'defaultBranchRef',
  'primaryLanguage',
  'licenseInfo',
])

/** Only directly below the repository itself: below a person they would be those of everywhere. */
export const repositoryOnly = new Set(['issues', 'pullRequests', 'issueComments', 'commitComments'])

/** Of whom the dispatcher is at GitHub. */
export const viewerFields = new Set(['__typename', 'avatarUrl', 'databaseId', 'id', 'login', 'name', 'url'])
