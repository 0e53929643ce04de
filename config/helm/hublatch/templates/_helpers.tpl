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
{{- /* The new pod is ready before the old one ends, but a redb file has one user at a time: an upgrade would never end. And
fsGroup makes the file readable by a group, which hublatch refuses at the next start. */ -}}
{{- $stores := list .Values.store.url -}}
{{- range .Values.extraEnv -}}
{{- if eq (toString .name) "HUBLATCH_STORE__URL" -}}
{{- $stores = append $stores (toString .value) -}}
{{- end -}}
{{- end -}}
{{- range $stores -}}
{{- if hasPrefix "redb:" . -}}
{{- fail "store.url: a redb: file does not outlive an upgrade on Kubernetes, where two pods overlap; write a Redis (redis:), or memory: for one replica whose unused links may be lost" -}}
{{- end -}}
{{- end -}}
{{- if regexMatch "(?m)^\\s*\\[(public|management|status|hub|assertion|store)\\]" .Values.extraConfig -}}
{{- fail "extraConfig: [public], [management], [status], [hub], [assertion] and [store] are written by the chart; use its values" -}}
{{- end -}}
{{- if and (gt (int .Values.preStopSeconds) 0) (le (int .Values.terminationGracePeriodSeconds) (int .Values.preStopSeconds)) -}}
{{- fail "terminationGracePeriodSeconds must be longer than preStopSeconds" -}}
{{- end -}}
{{- end -}}
