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
