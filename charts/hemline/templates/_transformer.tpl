{{/* The transformer's container, alone or beside the predictor's. */}}
{{- define "hemline.transformer" -}}
{{- $v := .Values -}}
{{- $name := include "hemline.name" . -}}
{{- $image := include "hemline.image" (dict "root" . "image" $v.transformer.image "repository" "hemline-transformer") -}}
- name: {{ $v.collocated | ternary "transformer-container" "kserve-container" }}
  {{- include "hemline.container" (dict "root" . "of" $v.transformer "image" $image "http" 8080 "grpc" 8081 "ready" "/v2/health/ready" "live" "/v2/health/live") | nindent 2 }}
  args:
    {{- if $v.collocated }}
    # KServe tells a transformer in the predictor's pod nothing.
    - --model-name={{ $name }}
    - --predictor-host=localhost:{{ default (include "hemline.predictorPort" .) (include "hemline.predictorGrpcPort" .) }}
    {{- else if include "hemline.predictorGrpcPort" . }}
    # KServe names no port, which is the one for REST.
    - --predictor-host={{ $name }}-predictor.{{ .Release.Namespace }}:{{ include "hemline.predictorGrpcPort" . }}
    {{- end }}
    - --ranking-model-type={{ $v.ranking.name }}
    {{- if eq $v.predictor.kind "custom" }}
    - --predictor-protocol={{ $v.predictor.custom.protocol }}
    - --predictor-model={{ default $name $v.predictor.custom.model }}
    {{- end }}
    {{- with $v.stylist.host }}
    - --stylist-host={{ . }}
    {{- end }}
    {{- with $v.bundle.path }}
    - --model-dir={{ . }}
    {{- end }}
    {{- if $v.ranking.fromCluster }}
    - --rankers-from-cluster
    - --ranking-config-map={{ $name }}-ranking
    {{- else }}
    {{- with $v.ranking.active }}
    - {{ printf "--active-ranker=%s" . | quote }}
    {{- end }}
    {{- with $v.ranking.byHistory }}
    - {{ printf "--ranker-by-history=%s" . | quote }}
    {{- end }}
    {{- with $v.ranking.shadow }}
    - {{ printf "--shadow-ranker=%s" . | quote }}
    {{- end }}
    {{- with $v.ranking.fallback }}
    - {{ printf "--fallback-rankers=%s" . | quote }}
    {{- end }}
    {{- end }}
    {{- include "hemline.drainFlags" . | nindent 4 }}
    {{- with include "hemline.flags" $v.transformer.settings | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $v.transformer.extraArgs }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  env:
    - name: HEMLINE_STORE
      valueFrom:
        secretKeyRef:
          {{- if $v.store.existingSecret.name }}
          name: {{ $v.store.existingSecret.name }}
          key: {{ $v.store.existingSecret.key }}
          {{- else }}
          name: {{ $name }}-store
          key: url
          {{- end }}
    {{- if and $v.bundle.uri (not (include "hemline.mountsBundle" .)) (not $v.collocated) }}
    - name: STORAGE_URI
      value: {{ $v.bundle.uri }}
    {{- end }}
    {{- if $v.store.reads.name }}
    - name: HEMLINE_STORE_READS
      valueFrom: {secretKeyRef: {name: {{ $v.store.reads.name }}, key: {{ $v.store.reads.key }}}}
    {{- end }}
    {{- with $v.transformer.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- $mounts := concat $v.transformer.extraVolumeMounts }}
  {{- if include "hemline.mountsBundle" . }}
  {{- $mounts = append $mounts (include "hemline.bundleMount" . | fromYaml) }}
  {{- end }}
  {{- if eq $v.store.kind "sqlite" }}
  {{- $store := dict "name" "store" "mountPath" "/store" }}
  {{- with $v.store.subPath }}
  {{- $store = set $store "subPath" . }}
  {{- end }}
  {{- $mounts = append $mounts $store }}
  {{- end }}
  {{- with $mounts }}
  volumeMounts:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Whether the transformer mounts the bundle itself. In the predictor's pod KServe mounts what it is told to fetch into both containers. */}}
{{- define "hemline.mountsBundle" -}}
{{- if or .Values.bundle.volume (and (hasPrefix "pvc://" .Values.bundle.uri) (not .Values.collocated)) }}yes{{ end -}}
{{- end -}}

{{/* Volumes of the transformer's pod, or what it adds to the predictor's. */}}
{{- define "hemline.transformerVolumes" -}}
{{- $v := .Values -}}
{{- if include "hemline.mountsBundle" . }}
- {{ include "hemline.bundleVolume" . | trim | nindent 2 | trim }}
{{- end }}
{{- if eq $v.store.kind "sqlite" }}
- name: store
  {{- toYaml $v.store.volume | nindent 2 }}
{{- end }}
{{- with $v.transformer.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
