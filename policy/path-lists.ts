import {reviewLists} from './review-lists.js'

/**
 * Named lists of repository paths, as data. An entry matches the path itself and everything below it;
 * `*` inside a segment, `**` across; compared without regard to case.
 */
export const pathLists = {
  /** what makes a CI system run something with the repository's secrets */
  ci: [
    '.appveyor.yml',
    '.azure-pipelines',
    '.build.yml',
    '.buildkite',
    '.builds',
    '.circleci',
    '.cirrus.star',
    '.cirrus.yml',
    '.drone.jsonnet',
    '.drone.star',
    '.drone.yml',
    '.forgejo',
    '.gitea',
    '.github',
    '.gitlab-ci.yml',
    '.harness',
    '.prow.yaml',
    '.semaphore',
    '.teamcity',
    '.tekton',
    '.travis.yml',
    '.woodpecker*',
    'Jenkinsfile*',
    'appveyor.yml',
    'azure-pipelines*.yaml',
    'azure-pipelines*.yml',
    'bamboo-specs',
    'bitbucket-pipelines.yml',
    'buildspec.yaml',
    'buildspec.yml',
    'cloudbuild.json',
    'cloudbuild.yaml',
    'cloudbuild.yml',
    'codefresh.yml',
    'screwdriver.yaml',
  ],
  /** what tools on a person's computer run or obey by themselves: passes, but is shown to the reviewer */
  review: [
    ...reviewLists.agent,
    ...reviewLists.editor,
    ...reviewLists.hooks,
    ...reviewLists.dependencies,
    ...reviewLists.scripts,
    ...reviewLists.build,
  ],
} as const satisfies Record<string, readonly string[]>

export type PathListName = keyof typeof pathLists

/** Whether a `git.push.deny` entry is the name of a list rather than a glob. */
export function isPathListName(entry: string): entry is PathListName {
  return Object.hasOwn(pathLists, entry)
}
