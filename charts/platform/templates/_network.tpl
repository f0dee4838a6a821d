{{/* Beginning of a network policy; context: [root, name]. */}}
{{- define "platform.policy" -}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ index . 1 }}
  labels:
    {{- include "platform.labels" (list (index . 0) "network") | nindent 4 }}
{{- end }}

{{/* Selector for the pods of some components; context: [root, components]. */}}
{{- define "platform.components" -}}
matchLabels:
  app.kubernetes.io/name: storefleet
  app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
matchExpressions:
  - key: app.kubernetes.io/component
    operator: In
    values: {{ toJson (index . 1) }}
{{- end }}
