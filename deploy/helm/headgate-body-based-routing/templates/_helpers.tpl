{{- define "bbr.selectorLabels" -}}
app.kubernetes.io/name: headgate-bbr
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "bbr.labels" -}}
{{ include "bbr.selectorLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "bbr.image" -}}
{{- with .Values.bbr.image -}}
{{- if .registry }}{{ .registry }}/{{ end }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end }}
