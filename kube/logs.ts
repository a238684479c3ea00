import {Readable, type Writable} from 'node:stream'
import type {LogOptions} from './cluster.js'
import {segment} from './kinds.js'
import {Outlet} from './outlet.js'
import type {ApiServer} from './server.js'

/** Copies the log of one container; the answer ends when the log does. */
export async function copyLogs(server: ApiServer, options: LogOptions, out: Writable): Promise<void> {
  const request = {
    purpose: `read the log of ${options.container} in ${options.namespace}/${options.pod}`,
    signal: options.signal,
  }
  const response = await server.open({
    ...request,
    method: 'GET',
    path: `/api/v1/namespaces/${segment(options.namespace)}/pods/${segment(options.pod)}/log`,
    query: {
      container: options.container,
      ...(options.follow ? {follow: 'true'} : {}),
      ...(options.previous ? {previous: 'true'} : {}),
      ...(options.since === undefined ? {} : {sinceTime: options.since}),
      ...(options.tail === undefined ? {} : {tailLines: String(options.tail)}),
    },
  })
  if (response.body === null) return
  const body = Readable.fromWeb(response.body)
  const outlet = new Outlet(out)
  try {
    for await (const chunk of body) if (!(await outlet.write(Buffer.from(chunk as Uint8Array)))) return
  } catch (error) {
    throw server.failure(request, error)
  } finally {
    outlet.release()
    body.destroy()
  }
}
