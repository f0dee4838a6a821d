{{/* Selector labels of a component's pods; context: [root, component]. */}}
{{- define "woocommerce.selector" -}}
app.kubernetes.io/name: woocommerce
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Labels of every object and pod; storefleet.dev/store identifies the store in the whole cluster. */}}
{{- define "woocommerce.labels" -}}
{{ include "woocommerce.selector" . }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
storefleet.dev/store: {{ (index . 0).Values.store.id }}
{{- end }}

{{/* Pod settings of every component: unprivileged, without access to the Kubernetes API. */}}
{{- define "woocommerce.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{/* Container settings; context: [root, image]. */}}
{{- define "woocommerce.container" -}}
image: {{ index . 1 | quote }}
imagePullPolicy: {{ (index . 0).Values.imagePullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "woocommerce.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .root.Values.storageClassName }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .storage }}
{{- end }}

{{/* Environment and mounts of the containers that run the engine: configuration, and secrets as files. */}}
{{- define "woocommerce.mounts" -}}
- name: configuration
  mountPath: /etc/storefleet
  readOnly: true
- name: secrets
  mountPath: /run/secrets/storefleet
  readOnly: true
- name: scratch
  mountPath: /tmp
{{- end }}

{{/* Volumes; context: [root, size of the scratch volume]. */}}
{{- define "woocommerce.volumes" -}}
- name: configuration
  configMap:
    name: store
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ (index . 0).Values.secret }}
          items:
            - key: database-password
              path: database-password
            - key: secret-key
              path: secret-key
      # Stores of an earlier version have no such key until their next change.
      - secret:
          name: {{ (index . 0).Values.secret }}
          optional: true
          items:
            - key: mail-key
              path: mail-key
      - secret:
          name: {{ (index . 0).Values.adminSecret }}
          items:
            - key: username
              path: admin-username
            - key: password
              path: admin-password
- name: scratch
  emptyDir:
    sizeLimit: {{ index . 1 }}
{{- end }}

{{/* The engine's configuration; secrets are named by file. It is read again for every request. */}}
{{- define "woocommerce.configuration" -}}
{{- $secrets := "/run/secrets/storefleet" -}}
{{- dict
  "store_id" .Values.store.id
  "name" .Values.store.name
  "host" .Values.store.host
  "url" .Values.store.url
  "database" (dict
    "host" "database" "name" "store" "user" "store"
    "password_file" (printf "%s/database-password" $secrets))
  "secret_key_file" (printf "%s/secret-key" $secrets)
  "mail_key_file" (printf "%s/mail-key" $secrets)
  "admin" (dict
    "username_file" (printf "%s/admin-username" $secrets)
    "password_file" (printf "%s/admin-password" $secrets))
  "parameters" .Values.parameters
  | toPrettyJson }}
{{- end }}
