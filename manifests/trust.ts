import {javaTrustStorePassword, trustPath} from '../core/layout.js'

/** Environment that makes every client of the pod trust the pod's own CA, whichever way it looks for roots. */
export const trustVariables: Readonly<Record<string, string>> = {
  AWS_CA_BUNDLE: trustPath.bundle,
  CARGO_HTTP_CAINFO: trustPath.bundle,
  CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE: trustPath.bundle,
  CURL_CA_BUNDLE: trustPath.bundle,
  DENO_CERT: trustPath.ca,
  GIT_SSL_CAINFO: trustPath.bundle,
  GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: trustPath.bundle,
  HTTPLIB2_CA_CERTS: trustPath.bundle,
  JAVA_TOOL_OPTIONS: [
    `-Djavax.net.ssl.trustStore=${trustPath.java}`,
    `-Djavax.net.ssl.trustStorePassword=${javaTrustStorePassword}`,
    '-Djavax.net.ssl.trustStoreType=PKCS12',
  ].join(' '),
  NIX_SSL_CERT_FILE: trustPath.bundle,
  NODE_EXTRA_CA_CERTS: trustPath.ca,
  PIP_CERT: trustPath.bundle,
  REQUESTS_CA_BUNDLE: trustPath.bundle,
  SSL_CERT_FILE: trustPath.bundle,
  // Yarn 1 looks for no other.
  npm_config_cafile: trustPath.bundle,
}
