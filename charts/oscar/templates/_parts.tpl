{{/* Selector labels of a component's pods; context: [root, component]. */}}
{{- define "oscar.selector" -}}
app.kubernetes.io/name: oscar
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Labels of every object and pod; storefleet.dev/store identifies the store in the whole cluster. */}}
{{- define "oscar.labels" -}}
{{ include "oscar.selector" . }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
storefleet.dev/store: {{ (index . 0).Values.store.id }}
{{- end }}

{{/* Pod settings of every component: unprivileged, without access to the Kubernetes API. */}}
{{- define "oscar.pod" -}}
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

{{- define "oscar.container" -}}
image: {{ .image | default .Values.image | quote }}
imagePullPolicy: {{ .Values.imagePullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "oscar.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .root.Values.storageClassName }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .storage }}
{{- end }}

{{/* Environment and mounts of the containers that run the engine: configuration, and secrets as files. */}}
{{- define "oscar.environment" -}}
env:
  - name: STORE_CONFIG
    value: /etc/storefleet/store.json
  - name: STORE_ID
    value: {{ .Values.store.id }}
{{- end }}

{{- define "oscar.mounts" -}}
- name: configuration
  mountPath: /etc/storefleet
  readOnly: true
- name: secrets
  mountPath: /run/secrets/storefleet
  readOnly: true
- name: scratch
  mountPath: /tmp
{{- end }}

{{- define "oscar.volumes" -}}
- name: configuration
  configMap:
    name: store
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ .Values.secret }}
          items:
            - key: database-password
              path: database-password
            - key: secret-key
              path: secret-key
      # Its own source, because a store of an earlier version has no such key until its next change.
      - secret:
          name: {{ .Values.secret }}
          optional: true
          items:
            - key: mail-key
              path: mail-key
      - secret:
          name: {{ .Values.adminSecret }}
          items:
            - key: username
              path: admin-username
            - key: password
              path: admin-password
- name: scratch
  emptyDir:
    sizeLimit: 64Mi
{{- end }}

{{/* The engine's configuration; secrets are named by file. */}}
{{- define "oscar.configuration" -}}
{{- $secrets := "/run/secrets/storefleet" -}}
{{- dict
  "store_id" .Values.store.id
  "name" .Values.store.name
  "host" .Values.store.host
  "url" .Values.store.url
  "address" "0.0.0.0"
  "port" 8080
  "database" (dict
    "host" "database" "port" 5432 "name" "store" "user" "store"
    "password_file" (printf "%s/database-password" $secrets))
  "secret_key_file" (printf "%s/secret-key" $secrets)
  "admin" (dict
    "username_file" (printf "%s/admin-username" $secrets)
    "password_file" (printf "%s/admin-password" $secrets))
  "parameters" .Values.parameters
  "data_dir" "/var/lib/storefleet/files"
  "mail_key_file" (printf "%s/mail-key" $secrets)
  "template_dir" "/opt/storefleet/template"
  "upload_max_bytes" (int64 .Values.uploadMaxBytes)
  | toPrettyJson }}
{{- end }}
