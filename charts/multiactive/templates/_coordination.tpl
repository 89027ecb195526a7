{{- /* What coordination.server makes of its values. Checks of one value alone are the schema's. */ -}}

{{- define "multiactive.coordination.selector" -}}
app.kubernetes.io/name: multiactive
app.kubernetes.io/component: coordination
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "multiactive.coordination.labels" -}}
{{ include "multiactive.coordination.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* endpoints of the managers: those that are named, otherwise those of the members, the own one first. */ -}}
{{- define "multiactive.coordination.endpoints" -}}
{{- $own := list }}
{{- $others := list }}
{{- range .Values.coordination.server.members }}
{{- if eq .name (include "multiactive.coordination.name" $) }}{{ $own = append $own .clientURL }}
{{- else }}{{ $others = append $others .clientURL }}{{ end }}
{{- end }}
{{- join "," (.Values.coordination.endpoints | default (concat $own $others)) }}
{{- end }}

{{- /* clientSecret holds what the managers show the store. */ -}}
{{- define "multiactive.coordination.clientSecret" -}}
{{- $server := .Values.coordination.server }}
{{- if .Values.coordination.tls.secretName }}{{ .Values.coordination.tls.secretName }}
{{- else if and $server.enabled (not $server.tls.insecure) }}{{ $server.tls.serverSecretName }}
{{- end }}
{{- end }}

{{- define "multiactive.coordination.name" -}}
{{ .Values.coordination.server.name | default .Values.region }}
{{- end }}

{{- /* In milliseconds. --timings has the leader's session that they must fit into. */ -}}
{{- define "multiactive.coordination.heartbeat" -}}
{{ .Values.coordination.server.heartbeatInterval | default (ternary "100ms" "200ms" (eq .Values.timings "fast")) | trimSuffix "ms" }}
{{- end }}

{{- define "multiactive.coordination.election" -}}
{{ .Values.coordination.server.electionTimeout | default (ternary "1000ms" "2000ms" (eq .Values.timings "fast")) | trimSuffix "ms" }}
{{- end }}

{{- /* validate fails when values do not fit together. */ -}}
{{- define "multiactive.coordination.validate" -}}
{{- $server := .Values.coordination.server }}
{{- $scheme := ternary "http" "https" $server.tls.insecure }}
{{- $seen := dict }}
{{- range $i, $member := $server.members }}
  {{- range $field, $value := pick $member "name" "peerURL" "clientURL" }}
    {{- if hasKey $seen $value }}
      {{- fail (printf "coordination.server.members[%d].%s: %s is used twice; every member has its own" $i $field $value) }}
    {{- end }}
    {{- $_ := set $seen $value true }}
    {{- if and (ne $field "name") (not (hasPrefix (print $scheme "://") $value)) }}
      {{- fail (printf "coordination.server.members[%d].%s: %s must begin with %s:// because coordination.server.tls.insecure is %t" $i $field $value $scheme $server.tls.insecure) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- if $server.enabled }}
  {{- include "multiactive.coordination.validateServer" . }}
{{- else if eq .Values.mode "witness" }}
  {{- fail "mode: a witness runs a member of the coordination store and nothing else; set coordination.server.enabled=true" }}
{{- else if and $server.members (not .Values.coordination.endpoints) (not $server.tls.insecure) (not .Values.coordination.tls.secretName) }}
  {{- fail "coordination.tls.secretName: coordination.server.members demand a client certificate; name the Secret with ca.crt, tls.crt and tls.key" }}
{{- end }}
{{- end }}

{{- define "multiactive.coordination.validateServer" -}}
{{- $server := .Values.coordination.server }}
{{- $name := include "multiactive.coordination.name" . }}
{{- $names := list }}
{{- range $server.members }}{{ $names = append $names .name }}{{ end }}
{{- if or (not $server.image.repository) (not $server.image.tag) }}
  {{- fail "coordination.server.image: name the repository and tag of an image with etcd 3.6 or newer" }}
{{- end }}
{{- if not $name }}
  {{- fail "coordination.server.name: name this member, or set region" }}
{{- end }}
{{- if not (has $name $names) }}
  {{- fail (printf "coordination.server.members: this member, %s, is not among [%s]; list all members, this one included" $name (join ", " $names)) }}
{{- end }}
{{- if $server.tls.insecure }}
  {{- if or $server.tls.peerSecretName $server.tls.serverSecretName .Values.coordination.tls.secretName }}
    {{- fail "coordination.server.tls.insecure: true, and yet Secrets with certificates are named; leave out the one or the other" }}
  {{- end }}
{{- else if or (not $server.tls.peerSecretName) (not $server.tls.serverSecretName) }}
  {{- fail "coordination.server.tls: name peerSecretName and serverSecretName, Secrets with ca.crt, tls.crt and tls.key, or set insecure=true for a trial" }}
{{- end }}
{{- $heartbeat := include "multiactive.coordination.heartbeat" . | int }}
{{- $election := include "multiactive.coordination.election" . | int }}
{{- $session := ternary 2000 5000 (eq .Values.timings "fast") }}
{{- if gt (mul 2 $election) $session }}
  {{- fail (printf "coordination.server.electionTimeout: %dms is more than half of the leader's session, which is %dms with timings %s" $election $session .Values.timings) }}
{{- end }}
{{- if lt $election (mul 5 $heartbeat | int) }}
  {{- fail (printf "coordination.server.electionTimeout: %dms is less than 5 times heartbeatInterval, %dms" $election $heartbeat) }}
{{- end }}
{{- end }}
