{{- /* multiactive.podMonitor: arguments are the root, the end of its name, the port, what selects the Pods, and their
     namespaces, none for all. What replaces labels follows it. */ -}}
{{- define "multiactive.podMonitor" -}}
{{- $root := index . 0 }}
{{- $monitor := $root.Values.monitoring.podMonitor }}
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ include "multiactive.name" $root }}{{ index . 1 }}
  namespace: {{ $monitor.namespace | default $root.Release.Namespace }}
  labels:
    {{- include "multiactive.labels" $root | nindent 4 }}
    {{- with $monitor.labels }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  namespaceSelector:
  {{- with index . 4 }}
    matchNames: {{- toYaml . | nindent 4 }}
  {{- else }}
    any: true
  {{- end }}
  selector:
    matchLabels: {{- index . 3 | nindent 6 }}
  podMetricsEndpoints:
  - port: {{ index . 2 }}
    path: /metrics
    interval: {{ $monitor.interval }}
    # What a series says of namespaces and regions is about its object, not about the Pod that tells it.
    honorLabels: true
    relabelings:
    - {action: keep, sourceLabels: [__meta_kubernetes_pod_phase], regex: Running}
{{- end }}
