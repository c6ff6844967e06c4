{{/* The port of the predictor's REST. Beside a transformer it must be another one than 8080. */}}
{{- define "hemline.predictorPort" -}}
{{- if eq .Values.predictor.kind "custom" }}{{ .Values.predictor.custom.port }}{{ else if .Values.collocated }}8085{{ else }}8080{{ end -}}
{{- end -}}

{{/* The port of a custom predictor that is spoken to by gRPC and has one for it. Ours answer gRPC on the port of REST too. */}}
{{- define "hemline.predictorGrpcPort" -}}
{{- with .Values.predictor }}{{ if and (eq .kind "custom") (eq .custom.protocol "grpc-v2") .custom.grpcPort }}{{ .custom.grpcPort }}{{ end }}{{ end -}}
{{- end -}}

{{/* Whether KServe is to fetch the bundle for this predictor, or mount it. */}}
{{- define "hemline.predictorBundle" -}}
{{- $v := .Values -}}
{{- if or (eq $v.predictor.kind "gbdt") (and (eq $v.predictor.kind "custom") $v.predictor.custom.bundle) $v.collocated -}}yes{{- end -}}
{{- end -}}

{{- define "hemline.predictor" -}}
{{- $v := .Values -}}
{{- $name := include "hemline.name" . -}}
{{- $ours := ne $v.predictor.kind "custom" -}}
{{- $repository := printf "hemline-predictor-%s" $v.predictor.kind -}}
{{- $image := include "hemline.image" (dict "root" . "image" $v.predictor.image "repository" $repository) -}}
{{- $http := include "hemline.predictorPort" . -}}
{{- $grpc := $ours | ternary ($v.collocated | ternary 0 8081) $v.predictor.custom.grpcPort -}}
{{- $ready := $ours | ternary "/v2/health/ready" $v.predictor.custom.readyPath -}}
- name: kserve-container
  {{- include "hemline.container" (dict "root" . "of" $v.predictor "image" $image "http" $http "grpc" $grpc "ready" $ready "live" ($ours | ternary "/v2/health/live" "")) | nindent 2 }}
  {{- if and (not $ours) $v.predictor.custom.preStopSeconds }}
  lifecycle: {preStop: {sleep: {seconds: {{ $v.predictor.custom.preStopSeconds }}}}}
  {{- end }}
  {{- if or $ours $v.predictor.extraArgs }}
  args:
    {{- if $ours }}
    # The name that the transformer asks for; KServe before 0.17 does not tell it.
    - --model-name={{ $name }}
    {{- if $v.collocated }}
    - --http-port={{ $http }}
    - --enable-grpc=false
    {{- end }}
    {{- if and $v.bundle.path (eq $v.predictor.kind "gbdt") }}
    - --model-dir={{ $v.bundle.path }}
    {{- end }}
    {{- include "hemline.drainFlags" . | nindent 4 }}
    {{- with include "hemline.flags" $v.predictor.settings | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- with $v.predictor.extraArgs }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  env:
    # What KServe's inference graphs speak to it.
    - name: PROTOCOL
      value: {{ and (not $ours) (eq $v.predictor.custom.protocol "v1") | ternary "v1" "v2" }}
    {{- if and $v.bundle.uri (include "hemline.predictorBundle" .) }}
    - name: STORAGE_URI
      value: {{ $v.bundle.uri }}
    {{- end }}
    {{- if eq $v.predictor.kind "llm" }}
    - name: LLM_URL
      value: {{ $v.predictor.llm.url }}
    {{- with $v.predictor.llm.model }}
    - name: LLM_MODEL
      value: {{ . }}
    {{- end }}
    {{- with $v.predictor.llm.existingSecret }}
    {{- if .name }}
    - name: LLM_API_KEY
      valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}
    {{- end }}
    {{- end }}
    {{- end }}
    {{- with $v.predictor.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- $mounts := concat $v.predictor.extraVolumeMounts }}
  {{- if and $v.bundle.volume (include "hemline.predictorBundle" .) }}
  {{- $mounts = append $mounts (include "hemline.bundleMount" . | fromYaml) }}
  {{- end }}
  {{- with $mounts }}
  volumeMounts:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
