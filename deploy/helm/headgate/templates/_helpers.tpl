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

{{- /* What has a namespace: the kinds that are read, and the statuses and events that are written. As deploy/rbac. */ -}}
{{- define "gateway.rules" -}}
- apiGroups: [""]
  resources: [services, pods, configmaps, secrets]
  verbs: [list, watch]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways, httproutes, referencegrants, backendtlspolicies]
  verbs: [list, watch]
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools]
  verbs: [list, watch]
- apiGroups: [inference.networking.x-k8s.io]
  resources: [inferencepools, inferencemodels, inferenceobjectives, inferencemodelrewrites]
  verbs: [list, watch]
- apiGroups: [llm-d.ai]
  resources: [inferenceobjectives, inferencemodelrewrites]
  verbs: [list, watch]
- apiGroups: [networking.gke.io]
  resources: [healthcheckpolicies, gcpbackendpolicies]
  verbs: [list, watch]
- apiGroups: [gateway.envoyproxy.io]
  resources: [securitypolicies]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways/status, httproutes/status, backendtlspolicies/status]
  verbs: [patch]
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools/status]
  verbs: [patch]
- apiGroups: [inference.networking.x-k8s.io]
  resources: [inferencepools/status, inferencemodels/status, inferenceobjectives/status, inferencemodelrewrites/status]
  verbs: [patch]
- apiGroups: [llm-d.ai]
  resources: [inferenceobjectives/status, inferencemodelrewrites/status]
  verbs: [patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
