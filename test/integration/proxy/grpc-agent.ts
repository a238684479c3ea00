/** A real gRPC client as the agent: does what its argument says and prints one JSON line for everything it hears. */
import {readFileSync} from 'node:fs'
import {Client, credentials, compressionAlgorithms, Metadata, type ServiceError} from '@grpc/grpc-js'
import {grpcService} from './grpc-service.js'

const {unary, both, gzip} = JSON.parse(process.argv[2] ?? '{}') as {
  unary?: string[]
  /** each is sent when the one before was answered */
  both?: string[]
  gzip?: boolean
}
const say = (line: unknown) => process.stdout.write(`${JSON.stringify(line)}\n`)
const echo = (bytes: Buffer) => bytes
const client = new Client(
  'grpc.test:443',
  credentials.createSsl(readFileSync(process.env['CAGE_CA'] ?? '')),
  {
    ...(gzip ? {'grpc.default_compression_algorithm': compressionAlgorithms.gzip} : {}),
    'grpc.enable_retries': 0,
  },
)
const failed = ({code, details}: ServiceError) => say({code, details})

for (const text of unary ?? []) {
  await new Promise<void>((resolve) => {
    client.makeUnaryRequest(
      grpcService.unary.path,
      echo,
      echo,
      Buffer.from(text),
      new Metadata(),
      (error, answer) => {
        if (error) failed(error)
        else say({answer: answer?.toString()})
        resolve()
      },
    )
  })
}
if (both) {
  const left = [...both]
  const call = client.makeBidiStreamRequest(grpcService.both.path, echo, echo)
  await new Promise<void>((resolve) => {
    const next = () => {
      const text = left.shift()
      if (text === undefined) call.end()
      else call.write(Buffer.from(text))
    }
    call.on('data', (message: Buffer) => {
      say({answer: message.toString()})
      next()
    })
    call.on('error', (error: ServiceError) => {
      failed(error)
      resolve()
    })
    call.on('end', resolve)
    next()
  })
}
client.close()
