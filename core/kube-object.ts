/** A Kubernetes object as it travels: what manifests build, what the cluster room applies and reads. */
export interface KubeObject {
  apiVersion: string
  kind: string
  metadata: KubeMetadata
  [field: string]: unknown
}

export interface KubeMetadata {
  name: string
  namespace?: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
  /** set by the cluster */
  uid?: string
  resourceVersion?: string
  /** RFC 3339, set by the cluster */
  creationTimestamp?: string
  deletionTimestamp?: string
  [field: string]: unknown
}
