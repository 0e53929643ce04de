{{- define "hublatch.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "hublatch.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "hublatch.labels" -}}
{{ include "hublatch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "hublatch.image" -}}
{{- with .Values.image -}}
{{- if .registry }}{{ .registry }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "hublatch.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "hublatch.name" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* What the schema cannot say. */}}
{{- define "hublatch.validate" -}}
{{- $several := or (gt (int .Values.replicas) 1) .Values.autoscaling.enabled -}}
{{- if and $several (hasPrefix "memory:" .Values.store.url) -}}
{{- fail "several replicas need one store: set store.url to a Redis, or replicas to 1 and autoscaling.enabled to false" -}}
{{- end -}}
{{- if regexMatch "(?m)^\\s*\\[(public|management|status|hub|assertion|store)\\]" .Values.extraConfig -}}
{{- fail "extraConfig: [public], [management], [status], [hub], [assertion] and [store] are written by the chart; use its values" -}}
{{- end -}}
{{- if and (gt (int .Values.preStopSeconds) 0) (le (int .Values.terminationGracePeriodSeconds) (int .Values.preStopSeconds)) -}}
{{- fail "terminationGracePeriodSeconds must be longer than preStopSeconds" -}}
{{- end -}}
{{- end -}}
