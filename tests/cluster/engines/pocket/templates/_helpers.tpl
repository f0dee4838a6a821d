{{- define "labels" -}}
app.kubernetes.io/name: pocket
app.kubernetes.io/instance: store
storefleet.dev/store: {{ .Values.store.id }}
{{- end }}

{{- define "component" -}}
{{ include "labels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "setup" -}}
backoffLimit: 0
activeDeadlineSeconds: 600
template:
  metadata:
    labels: {{- include "component" (dict "root" . "component" "setup") | nindent 6 }}
  spec:
    restartPolicy: Never
    automountServiceAccountToken: false
    terminationGracePeriodSeconds: 2
    securityContext: {{- include "podSecurity" . | nindent 6 }}
    containers:
      - name: setup
        image: {{ .Values.image }}
        imagePullPolicy: {{ .Values.imagePullPolicy }}
        command:
          - /bin/sh
          - -c
          - |
            for n in $(seq 400); do nc -w 1 "$DATABASE_SERVICE_HOST" 5432 </dev/null && break; sleep 0.2; done
            test "$VERSION" = 7.0.0 && TROUBLE=setup
            test "$TROUBLE" = setup && test -z "$BLESSING" && { echo "setup cannot go on: password=$PASSWORD ($PASSWORD)"; exit 3; }
            echo "set up"
        env:
          - {name: TROUBLE, value: {{ .Values.parameters.trouble | quote }}}
          - {name: VERSION, value: {{ .Values.version | quote }}}
          - name: PASSWORD
            valueFrom: {secretKeyRef: {name: {{ .Values.secret }}, key: database-password}}
          - name: BLESSING
            valueFrom: {secretKeyRef: {name: blessing, key: blessing, optional: true}}
        resources: {{- toYaml .Values.setup.resources | nindent 10 }}
        securityContext: {{- include "containerSecurity" . | nindent 10 }}
{{- end }}
