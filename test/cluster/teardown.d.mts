/** Destroys what setup.mjs brought up. */
export default function teardown(): Promise<void>
