{{/* Selector labels of a component's pods; context: [root, component]. */}}
{{- define "medusa.selector" -}}
app.kubernetes.io/name: medusa
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/*
Labels of every object and pod; storefleet.dev/store identifies the store in the whole cluster. There is no version label: it
would restart the database with every upgrade.
*/}}
{{- define "medusa.labels" -}}
{{ include "medusa.selector" . }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
storefleet.dev/store: {{ (index . 0).Values.store.id }}
{{- end }}

{{/* Pod settings of every component: unprivileged, without access to the Kubernetes API. */}}
{{- define "medusa.pod" -}}
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
{{- define "medusa.container" -}}
image: {{ index . 1 | quote }}
imagePullPolicy: {{ (index . 0).Values.imagePullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "medusa.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .root.Values.storageClassName }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .storage }}
{{- end }}

{{/* Environment and mounts of the containers that run the engine: configuration, and secrets as files. */}}
{{- define "medusa.environment" -}}
env:
  - name: STORE_CONFIG
    value: /etc/storefleet/store.json
  - name: STORE_ID
    value: {{ .Values.store.id }}
{{- end }}

{{- define "medusa.mounts" -}}
- name: configuration
  mountPath: /etc/storefleet
  readOnly: true
- name: secrets
  mountPath: /run/secrets/storefleet
  readOnly: true
- name: scratch
  mountPath: /tmp
{{- end }}

{{- define "medusa.volumes" -}}
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
            {{- range list "database-password" "jwt-secret" "cookie-secret" }}
            - key: {{ . }}
              path: {{ . }}
            {{- end }}
      - secret:
          name: {{ .Values.secret }}
          # A store of an earlier version has no key of the mail outbox until its next change.
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
    sizeLimit: 128Mi
{{- end }}

{{/* The engine's configuration; secrets are named by file. */}}
{{- define "medusa.configuration" -}}
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
  "jwt_secret_file" (printf "%s/jwt-secret" $secrets)
  "cookie_secret_file" (printf "%s/cookie-secret" $secrets)
  "mail_key_file" (printf "%s/mail-key" $secrets)
  "admin" (dict
    "username_file" (printf "%s/admin-username" $secrets)
    "password_file" (printf "%s/admin-password" $secrets))
  "parameters" .Values.parameters
  "data_dir" "/var/lib/storefleet/files"
  "upload_max_bytes" (int64 .Values.uploadMaxBytes)
  | toPrettyJson }}
{{- end }}
