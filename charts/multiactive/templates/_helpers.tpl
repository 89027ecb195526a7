{{- define "multiactive.name" -}}
multiactive-{{ .Values.mode }}
{{- end }}

{{- define "multiactive.selector" -}}
app.kubernetes.io/name: multiactive
app.kubernetes.io/component: {{ .Values.mode }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "multiactive.labels" -}}
{{ include "multiactive.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "multiactive.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* Not empty when this release serves the webhook. */ -}}
{{- define "multiactive.webhook" -}}
{{- if and .Values.webhook.enabled (has .Values.mode (list "hub" "peer")) }}true{{ end }}
{{- end }}

{{- /* What the manager and its check are given alike. */ -}}
{{- define "multiactive.manager.args" -}}
- --mode={{ .Values.mode }}
- --operator-namespace={{ .Release.Namespace }}
- --coordination-endpoints={{ include "multiactive.coordination.endpoints" . }}
- --coordination-prefix={{ .Values.coordination.prefix }}
{{- if include "multiactive.coordination.clientSecret" . }}
- --coordination-ca-file=/etc/multiactive/coordination/ca.crt
- --coordination-cert-file=/etc/multiactive/coordination/tls.crt
- --coordination-key-file=/etc/multiactive/coordination/tls.key
{{- end }}
{{- end }}

{{- /* Four fifths of the memory limit, for Go's collector; nothing without a limit in Mi or Gi. */ -}}
{{- define "multiactive.manager.memory" -}}
{{- $limit := dig "limits" "memory" "" .Values.resources | toString }}
{{- if regexMatch "^[0-9]+Mi$" $limit }}{{ div (mul 4 (trimSuffix "Mi" $limit | int)) 5 }}MiB
{{- else if regexMatch "^[0-9]+Gi$" $limit }}{{ div (mul 4096 (trimSuffix "Gi" $limit | int)) 5 }}MiB
{{- end }}
{{- end }}
