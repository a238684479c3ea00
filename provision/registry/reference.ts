/** `registry.example.com:5000/team/cage` taken apart. */
export interface RegistryPlace {
  /** with port, as in image references */
  host: string
  /** below the host, with a slash at its end, or empty */
  path: string
  /** plain HTTP only to this computer itself, as every client of registries does it */
  origin: string
  /** under which name Docker's configuration keeps its account */
  account: string
}

/** The one registry whose name in references is not the name it is reached by. */
const dockerHub = {host: 'registry-1.docker.io', account: 'index.docker.io/v1/'}

export function registryPlace(registry: string): RegistryPlace {
  const cut = registry.indexOf('/')
  const host = cut < 0 ? registry : registry.slice(0, cut)
  const path = cut < 0 ? '' : `${registry.slice(cut + 1)}/`
  if (host === 'docker.io')
    return {host, path, origin: `https://${dockerHub.host}`, account: `https://${dockerHub.account}`}
  const name = host.replace(/:\d+$/, '')
  const loopback = name === 'localhost' || /^127(\.\d{1,3}){3}$/.test(name)
  return {host, path, origin: `${loopback ? 'http' : 'https'}://${host}`, account: host}
}
