{{/* Selector labels of a component's pods; context: [root, component]. */}}
{{- define "platform.selector" -}}
app.kubernetes.io/name: storefleet
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "platform.labels" -}}
{{ include "platform.selector" . }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
{{- end }}

{{- define "platform.image" -}}
{{- $image := .Values.image -}}
{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* Pod settings of every component: unprivileged; context: root. */}}
{{- define "platform.pod" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "platform.container" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* The platform's public host and URLs: as configured, else derived from the exposure. */}}
{{- define "platform.host" -}}
{{- if .Values.publicUrl -}}
{{ (urlParse .Values.publicUrl).host | splitList ":" | first }}
{{- else if ne .Values.exposure.type "none" -}}
{{ .Values.exposure.host }}
{{- end }}
{{- end }}

{{- define "platform.tls" -}}
{{- if .Values.exposure.tls.enabled }}s{{ end }}
{{- end }}

{{- define "platform.publicUrl" -}}
{{- if .Values.publicUrl -}}
{{ .Values.publicUrl }}
{{- else if include "platform.host" . -}}
http{{ include "platform.tls" . }}://{{ include "platform.host" . }}
{{- end }}
{{- end }}

{{- define "platform.publicLiveUrl" -}}
{{- if .Values.publicLiveUrl -}}
{{ .Values.publicLiveUrl }}
{{- else if include "platform.host" . -}}
ws{{ include "platform.tls" . }}://{{ include "platform.host" . }}
{{- end }}
{{- end }}

{{- define "platform.streamReplicas" -}}
{{ .Values.nats.enabled | ternary .Values.nats.replicas .Values.nats.external.streamReplicas }}
{{- end }}

{{/* Environment of every service, without secrets; .Values.settings overrides the values of the chart. */}}
{{- define "platform.settings" -}}
{{- $stores := .Values.stores }}
{{- $exposure := .Values.exposure }}
{{- $gateway := join "/" (compact (list $exposure.gateway.namespace $exposure.gateway.name $exposure.gateway.sectionName)) }}
{{- $own := dict
  "HOST" "0.0.0.0"
  "STATE_DIR" "/tmp/storefleet"
  "SECRETS_DIR" "/run/secrets/storefleet"
  "LOG_LEVEL" .Values.logLevel
  "PUBLIC_URL" (include "platform.publicUrl" .)
  "PUBLIC_LIVE_URL" (include "platform.publicLiveUrl" .)
  "RUNTIME" .Values.runtime
  "STREAM_REPLICAS" (include "platform.streamReplicas" .)
  "CATALOGUE" (empty .Values.catalogue | ternary "" "/etc/storefleet/catalogue.json")
  "DEFAULT_ENGINE" $stores.defaultEngine
  "STORE_DOMAIN" $stores.domain
  "STORE_SCHEME" $stores.scheme
  "STORE_PUBLIC_PORT" $stores.publicPort
  "EXPOSURE" $exposure.type
  "INGRESS_CLASS" $exposure.className
  "INGRESS_NAMESPACE" $exposure.namespace
  "INGRESS_ADDRESS" $exposure.address
  "ROUTE_GATEWAY" (eq $exposure.type "httproute" | ternary $gateway "")
  "STORAGE_CLASS" $stores.storageClass
  "IMAGE_PREFIX" $stores.imagePrefix
  "PLATFORM_NAMESPACE" .Release.Namespace
}}
{{- range $name, $value := merge (dict) .Values.settings $own }}
{{- /* Numbers in values are floats; a large one would be formatted with an exponent. */}}
{{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}
{{- $value = int64 $value }}
{{- end }}
{{- if ne (toString $value) "" }}
- name: STOREFLEET_{{ $name }}
  value: {{ toString $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "platform.databaseSecret" -}}
{{ .Values.postgresql.enabled | ternary "storefleet-database" .Values.postgresql.external.secret }}
{{- end }}

{{- define "platform.busSecret" -}}
{{ .Values.nats.enabled | ternary "storefleet-bus" .Values.nats.external.secret }}
{{- end }}

{{/* A service's secrets as files, which its settings read; context: [root, NATS user]. */}}
{{- define "platform.secrets" -}}
{{- $root := index . 0 }}
{{- $user := index . 1 }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ include "platform.databaseSecret" $root }}
          items:
            - key: {{ $root.Values.postgresql.enabled | ternary "url" $root.Values.postgresql.external.key }}
              path: storefleet_database_url
      - secret:
          name: {{ include "platform.busSecret" $root }}
          items:
            - key: {{ $root.Values.nats.enabled | ternary $user (get $root.Values.nats.external.keys $user) }}
              path: storefleet_nats_url
{{- end }}

{{- define "platform.secretsMount" -}}
- name: secrets
  mountPath: /run/secrets/storefleet
  readOnly: true
{{- end }}

{{- define "platform.scratch" -}}
- name: scratch
  emptyDir:
    sizeLimit: {{ . }}
{{- end }}

{{- define "platform.scratchMount" -}}
- name: scratch
  mountPath: /tmp
{{- end }}

{{/* The catalogue of engine versions; context: root. */}}
{{- define "platform.catalogueMount" -}}
{{- if .Values.catalogue -}}
- name: catalogue
  mountPath: /etc/storefleet
  readOnly: true
{{- end }}
{{- end }}

{{- define "platform.catalogue" -}}
{{- if .Values.catalogue -}}
- name: catalogue
  configMap:
    name: catalogue
{{- end }}
{{- end }}

{{- define "platform.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .storageClassName }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .storage }}
{{- end }}
