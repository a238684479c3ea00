import {reviewLists} from './review-lists.js'

/**
 * Named lists of repository paths, as data. An entry matches the path itself and everything below it;
 * `*` inside a segment, `**` across; compared without regard to case.
 */
export const pathLists = {
  /** what makes a CI system run something with the repository's secrets */
  ci: [
    '**/Jenkinsfile*',
    '**/azure-pipelines*.yaml',
    '**/azure-pipelines*.yml',
    '*.gocd.yaml',
    '*.gocd.yml',
    '.appveyor.yml',
    '.azure-pipelines',
    '.azuredevops',
    '.buddy',
    '.build.yml',
    '.buildkite',
    '.builds',
    '.ci-operator.yaml',
    '.circleci',
    '.cirrus.star',
    '.cirrus.yml',
    '.cloudbuild',
    '.drone.jsonnet',
    '.drone.star',
    '.drone.yml',
    '.forgejo',
    '.gitea',
    '.github',
    '.gitlab-ci.yml',
    '.gocd.yaml',
    '.gocd.yml',
    '.harness',
    '.jenkins',
    '.mergify',
    '.mergify.yml',
    '.onedev-buildspec.yml',
    '.packit.yaml',
    '.packit.yml',
    '.pipelines',
    '.prow.yaml',
    '.scrutinizer.yml',
    '.semaphore',
    '.shippable.yml',
    '.spacelift',
    '.tangled',
    '.taskcluster.yml',
    '.teamcity',
    '.tekton',
    '.travis.yml',
    '.vsts-ci.yml',
    '.woodpecker*',
    '.zuul.d',
    '.zuul.yaml',
    'amplify.yml',
    'appveyor.yml',
    'atlantis.yaml',
    'bamboo-specs',
    'bitbucket-pipelines.yml',
    'bitrise.yml',
    'buddy.yml',
    'buildspec.yaml',
    'buildspec.yml',
    'cloudbuild*.yaml',
    'cloudbuild*.yml',
    'cloudbuild.json',
    'codefresh.yml',
    'codemagic.yaml',
    'codeship-services.yml',
    'codeship-steps.yml',
    'screwdriver.yaml',
    'shippable.yml',
    'wercker.yml',
    'zuul.d',
    'zuul.yaml',
  ],
  /** what tools on a person's computer run or obey by themselves: passes, but is shown to the reviewer */
  review: [
    ...reviewLists.agent,
    ...reviewLists.editor,
    ...reviewLists.hooks,
    ...reviewLists.dependencies,
    ...reviewLists.scripts,
    ...reviewLists.build,
    ...reviewLists.owners,
  ],
} as const satisfies Record<string, readonly string[]>

export type PathListName = keyof typeof pathLists

/** Whether a `git.push.deny` entry is the name of a list rather than a glob. */
export function isPathListName(entry: string): entry is PathListName {
  return Object.hasOwn(pathLists, entry)
}
