/** Brings up the tier's project; sets CAGE_TEST_REPOSITORY, CAGE_TEST_SCRATCH and the XDG variables of this process. */
export default function setup(): Promise<void>
