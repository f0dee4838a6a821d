{{/*
Deployment, Service and PodDisruptionBudget of one of the four services; context: [root, name, port, whether it
uses the Kubernetes API]. A rolling update starts a new pod first. The old pod then reports itself unready, serves
requests for the drain time, and closes each connection with its response.
*/}}
{{- define "platform.deployment" -}}
{{- $root := index . 0 }}
{{- $name := index . 1 }}
{{- $port := index . 2 }}
{{- $usesApi := and (index . 3) (eq $root.Values.runtime "kubernetes") }}
{{- $values := get $root.Values $name }}
{{- $drains := or (eq $name "gateway") (eq $name "notifier") }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  labels:
    {{- include "platform.labels" (list $root $name) | nindent 4 }}
spec:
  replicas: {{ $values.replicas }}
  revisionHistoryLimit: 3
  progressDeadlineSeconds: 600
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 1
  selector:
    matchLabels:
      {{- include "platform.selector" (list $root $name) | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "platform.labels" (list $root $name) | nindent 8 }}
      {{- with $root.Values.catalogue }}
      annotations:
        storefleet.dev/catalogue: {{ toJson . | sha256sum }}
      {{- end }}
    spec:
      serviceAccountName: {{ $name }}
      automountServiceAccountToken: {{ $usesApi }}
      # A worker finishes its running steps within 8 seconds, or requeues them.
      terminationGracePeriodSeconds: {{ add 20 (ternary $root.Values.drain 0 $drains) }}
      {{- include "platform.pod" $root | nindent 6 }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          matchLabelKeys: [pod-template-hash]
          labelSelector:
            matchLabels:
              {{- include "platform.selector" (list $root $name) | nindent 14 }}
      initContainers:
        - name: wait
          image: {{ include "platform.image" $root }}
          {{- include "platform.container" $root | nindent 10 }}
          args: [storefleet, platform, wait, --timeout, {{ $root.Values.setup.timeout | quote }}]
          env:
            {{- include "platform.settings" $root | nindent 12 }}
          resources:
            {{- toYaml $root.Values.setup.resources | nindent 12 }}
          volumeMounts:
            {{- include "platform.secretsMount" $root | nindent 12 }}
            {{- with include "platform.catalogueMount" $root }}
            {{- . | nindent 12 }}
            {{- end }}
            {{- include "platform.scratchMount" $root | nindent 12 }}
      containers:
        - name: {{ $name }}
          image: {{ include "platform.image" $root }}
          {{- include "platform.container" $root | nindent 10 }}
          args: [python, -m, services.{{ $name }}]
          env:
            {{- include "platform.settings" $root | nindent 12 }}
            {{- if $drains }}
            - name: STOREFLEET_DRAIN
              value: {{ $root.Values.drain | quote }}
            {{- end }}
          ports:
            - name: http
              containerPort: {{ $port }}
          startupProbe:
            httpGet: &alive
              path: /healthz
              port: http
            periodSeconds: 1
            timeoutSeconds: 3
            failureThreshold: 60
          livenessProbe:
            httpGet: *alive
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet:
              path: /readyz
              port: http
            periodSeconds: 3
            timeoutSeconds: 6
            failureThreshold: 2
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          volumeMounts:
            {{- include "platform.secretsMount" $root | nindent 12 }}
            {{- with include "platform.catalogueMount" $root }}
            {{- . | nindent 12 }}
            {{- end }}
            {{- include "platform.scratchMount" $root | nindent 12 }}
      volumes:
        {{- include "platform.secrets" (list $root $name) | nindent 8 }}
        {{- with include "platform.catalogue" $root }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- include "platform.scratch" "256Mi" | nindent 8 }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $name }}
  labels:
    {{- include "platform.labels" (list $root $name) | nindent 4 }}
automountServiceAccountToken: false
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  labels:
    {{- include "platform.labels" (list $root $name) | nindent 4 }}
spec:
  {{- with $values.service }}
  type: {{ .type }}
  {{- end }}
  selector:
    {{- include "platform.selector" (list $root $name) | nindent 4 }}
  ports:
    - name: http
      port: {{ $port }}
      targetPort: http
      {{- with $values.service }}
      {{- if and .nodePort (ne .type "ClusterIP") }}
      nodePort: {{ .nodePort }}
      {{- end }}
      {{- end }}
{{- if gt (int $values.replicas) 1 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  labels:
    {{- include "platform.labels" (list $root $name) | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "platform.selector" (list $root $name) | nindent 6 }}
{{- end }}
{{- end }}
