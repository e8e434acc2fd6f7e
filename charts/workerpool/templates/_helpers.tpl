{{/* What the names of this release begin with: the release's own, joined with the chart's unless it is in there. */}}
{{- define "workerpool.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "workerpool.operatorName" -}}
{{ include "workerpool.fullname" . }}-operator
{{- end -}}

{{- define "workerpool.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "workerpool.operatorName" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "workerpool.image" -}}
{{- with .Values.image -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ with .digest }}@{{ . }}{{ end }}
{{- end -}}
{{- end -}}

{{/* What a Deployment selects by. It cannot change later. Called with (list $ NAME), NAME being the component's. */}}
{{- define "workerpool.selectorLabels" -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
{{- end -}}

{{/* What a Service selects by. Pods of pools may have any name, but are never part of workerpool. Called with (list $ NAME). */}}
{{- define "workerpool.serviceSelector" -}}
{{ include "workerpool.selectorLabels" . }}
app.kubernetes.io/part-of: workerpool
{{- end -}}

{{/* Of what belongs to the release as a whole. */}}
{{- define "workerpool.releaseLabels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: workerpool
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end -}}

{{/* Of one component. Called with (list $ NAME). */}}
{{- define "workerpool.labels" -}}
app.kubernetes.io/name: {{ index . 1 }}
{{ include "workerpool.releaseLabels" (index . 0) }}
{{- end -}}

{{/* Of a component's pods: nothing that changes with the chart's version, which would roll them for nothing.
     Called with (list $ NAME VALUES), VALUES being the component's. */}}
{{- define "workerpool.podMetadata" -}}
{{- with (index . 2).podAnnotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{ end -}}
labels:
  {{- include "workerpool.serviceSelector" . | nindent 2 }}
  {{- with (index . 2).podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Where a component's pods may run. Called with the component's values. */}}
{{- define "workerpool.scheduling" -}}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with get $ $field }}
{{ dict $field . | toYaml }}
{{- end }}
{{- end }}
{{- end -}}

{{/* How a component logs, and what else is in its environment. Called with the component's values. */}}
{{- define "workerpool.env" -}}
{{- with .log.filter }}
- name: WORKERPOOL_LOG
  value: {{ . | quote }}
{{- end }}
{{- with .log.format }}
- name: WORKERPOOL_LOG_FORMAT
  value: {{ . }}
{{- end }}
{{- with .env }}
{{ toYaml . }}
{{- end }}
{{- end -}}
