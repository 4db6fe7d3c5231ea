{{- define "pool.epp" -}}
{{ printf "%s-epp" .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "pool.selectorLabels" -}}
app.kubernetes.io/name: headgate-epp
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pool.labels" -}}
{{ include "pool.selectorLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* The newest version of the pool that the cluster serves; `helm template` asks no cluster, and gets v1. */ -}}
{{- define "pool.apiVersion" -}}
{{- $old := "inference.networking.x-k8s.io/v1alpha2" -}}
{{- $new := "inference.networking.k8s.io/v1" -}}
{{- if .Values.inferencePool.apiVersion -}}
{{ .Values.inferencePool.apiVersion }}
{{- else if .Capabilities.APIVersions.Has (printf "%s/InferencePool" $new) -}}
{{ $new }}
{{- else if .Capabilities.APIVersions.Has (printf "%s/InferencePool" $old) -}}
{{ $old }}
{{- else -}}
{{ $new }}
{{- end -}}
{{- end }}

{{- define "pool.group" -}}
{{ include "pool.apiVersion" . | splitList "/" | first }}
{{- end }}

{{- define "pool.matchLabels" -}}
{{- $servers := .Values.inferencePool.modelServers.matchLabels | default dict -}}
{{- $selector := .Values.inferencePool.selector.matchLabels | default dict -}}
{{- if and $servers $selector (ne (toJson $servers) (toJson $selector)) -}}
{{- fail (printf "inferencePool.modelServers.matchLabels is %s and inferencePool.selector.matchLabels is %s: they mean the same, so write one of them" (toJson $servers) (toJson $selector)) -}}
{{- end -}}
{{- $labels := $servers | default $selector -}}
{{- if not $labels -}}
{{- fail "inferencePool.modelServers.matchLabels is missing: say which Pods are the model servers, as in --set inferencePool.modelServers.matchLabels.app=vllm-llama3-8b-instruct" -}}
{{- end -}}
{{- toYaml $labels -}}
{{- end }}

{{- /* A JSON list of numbers. */ -}}
{{- define "pool.ports" -}}
{{- $ports := list -}}
{{- range .Values.inferencePool.targetPorts -}}
{{- $ports = append $ports (int .number) -}}
{{- end -}}
{{- with .Values.inferencePool.targetPortNumber -}}
{{- $ports = list (int .) -}}
{{- end -}}
{{- with .Values.inferencePool.targetPort -}}
{{- $ports = list (int .) -}}
{{- end -}}
{{- toJson $ports -}}
{{- end }}

{{- define "pool.image" -}}
{{- with .Values.inferenceExtension.image -}}
{{- if .registry }}{{ .registry }}/{{ end }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* Who reads the metrics shows this Secret's token. */ -}}
{{- define "pool.readerSecret" -}}
{{ .Values.inferenceExtension.monitoring.prometheus.auth.secretName | default (printf "%s-metrics-reader" (include "pool.epp" .)) }}
{{- end }}

{{- define "pool.gmp" -}}
{{- if and (eq .Values.provider.name "gke") .Values.inferenceExtension.monitoring.gke.enabled }}true{{ end -}}
{{- end }}

{{- define "pool.plugins" -}}
{{- $name := .Values.inferenceExtension.pluginsConfigFile -}}
{{- $own := .Values.inferenceExtension.pluginsCustomConfig -}}
{{- if hasKey $own $name -}}
{{- toYaml $own -}}
{{- else if ne $name "default-plugins.yaml" -}}
{{- fail (printf "inferenceExtension.pluginsConfigFile is %s, which inferenceExtension.pluginsCustomConfig does not have: write its text there, under that name" $name) -}}
{{- else if .Values.inferenceExtension.latencyPredictor.enabled -}}
{{- toYaml (set (deepCopy $own) $name (.Files.Get "files/predicted-latency.yaml")) -}}
{{- else -}}
{{- toYaml (set (deepCopy $own) $name (.Files.Get "files/default-plugins.yaml")) -}}
{{- end -}}
{{- end }}
