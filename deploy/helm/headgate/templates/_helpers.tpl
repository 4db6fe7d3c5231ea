{{- define "gateway.name" -}}
{{ ternary .Release.Name (printf "%s-headgate" .Release.Name) (contains "headgate" .Release.Name) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "gateway.selectorLabels" -}}
app.kubernetes.io/name: headgate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gateway.labels" -}}
{{ include "gateway.selectorLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "gateway.image" -}}
{{- with .Values.image -}}
{{- if .registry }}{{ .registry }}/{{ end }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* Where a listener's port is served in the container, which may bind none below 1024. */ -}}
{{- define "gateway.served" -}}
{{ ternary (add . 8000) . (lt (int .) 1024) }}
{{- end }}

{{- /* What has a namespace: the kinds that are read, and the statuses that are written. */ -}}
{{- define "gateway.rules" -}}
- apiGroups: [""]
  resources: [configmaps, pods, secrets, services]
  verbs: [get, list, watch]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [backendtlspolicies, gateways, httproutes, referencegrants]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [backendtlspolicies/status, gateways/status, httproutes/status]
  verbs: [patch]
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools]
  verbs: [get, list, watch]
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools/status]
  verbs: [patch]
- apiGroups: [inference.networking.x-k8s.io]
  resources: [inferencemodelrewrites, inferencemodels, inferenceobjectives, inferencepools]
  verbs: [get, list, watch]
- apiGroups: [inference.networking.x-k8s.io]
  resources: [inferencemodelrewrites/status, inferencemodels/status, inferenceobjectives/status, inferencepools/status]
  verbs: [patch]
- apiGroups: [llm-d.ai]
  resources: [inferencemodelrewrites, inferenceobjectives]
  verbs: [get, list, watch]
- apiGroups: [llm-d.ai]
  resources: [inferencemodelrewrites/status, inferenceobjectives/status]
  verbs: [patch]
- apiGroups: [networking.gke.io]
  resources: [gcpbackendpolicies, healthcheckpolicies]
  verbs: [get, list, watch]
- apiGroups: [networking.gke.io]
  resources: [gcpbackendpolicies/status, healthcheckpolicies/status]
  verbs: [patch]
- apiGroups: [gateway.envoyproxy.io]
  resources: [securitypolicies]
  verbs: [get, list, watch]
- apiGroups: [gateway.envoyproxy.io]
  resources: [securitypolicies/status]
  verbs: [patch]
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
