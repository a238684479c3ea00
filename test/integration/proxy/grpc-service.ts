import type {MethodDefinition} from '@grpc/grpc-js'

const method = (path: string, streams: boolean): MethodDefinition<Buffer, Buffer> => ({
  path,
  requestStream: streams,
  responseStream: streams,
  requestSerialize: (bytes) => bytes,
  requestDeserialize: (bytes) => bytes,
  responseSerialize: (bytes) => bytes,
  responseDeserialize: (bytes) => bytes,
})

/** Messages are plain bytes: what is tested is the way, not the encoding. */
export const grpcService = {
  unary: method('/test.Echo/Unary', false),
  both: method('/test.Echo/Both', true),
}
