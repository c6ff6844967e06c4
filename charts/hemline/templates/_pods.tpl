{{/* What both components' pods have: (dict "root" $ "component" "predictor" "of" .Values.predictor). */}}
{{- define "hemline.pod" -}}
{{- $v := .root.Values -}}
minReplicas: {{ .of.minReplicas }}
{{- if ne $v.autoscaling.class "none" }}
maxReplicas: {{ max (int .of.minReplicas) (int .of.maxReplicas) }}
{{- end }}
{{- if eq $v.autoscaling.class "hpa" }}
scaleMetric: cpu
scaleTarget: {{ .of.targetCPU }}
{{- end }}
{{- if eq $v.autoscaling.class "keda" }}
autoScaling:
  metrics:
    {{- if .of.metrics }}
    {{- toYaml .of.metrics | nindent 4 }}
    {{- else }}
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ .of.targetCPU }}}}
    {{- end }}
{{- end }}
{{- with .of.podLabels }}
labels:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $annotations := deepCopy .of.podAnnotations }}
{{- if and (include "hemline.hasTransformer" .) $v.store.url (not $v.store.existingSecret.name) }}
{{- /* Another URL in the chart's Secret replaces the pods, which read it at their start. */}}
{{- $annotations = merge $annotations (dict "checksum/store" (sha256sum $v.store.url)) }}
{{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
# One pod more while pods are replaced, and none less.
deploymentStrategy:
  type: RollingUpdate
  rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
serviceAccountName: {{ include "hemline.serviceAccountName" .root }}
automountServiceAccountToken: {{ and $v.ranking.fromCluster (include "hemline.hasTransformer" . | eq "yes") }}
terminationGracePeriodSeconds: {{ include "hemline.grace" . }}
securityContext:
  {{- toYaml $v.podSecurityContext | nindent 2 }}
{{- with $v.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpreadConstraints:
  {{- include "hemline.spread" . | trim | nindent 2 }}
{{- end -}}

{{/* Whether the transformer is in the pod of this component: (dict "root" $ "component" "…"). */}}
{{- define "hemline.hasTransformer" -}}
{{- if or (eq .component "transformer") .root.Values.collocated }}yes{{ end -}}
{{- end -}}

{{/* A probe, from its default and what the values say over it: (dict "default" (dict …) "given" (dict …)). */}}
{{- define "hemline.probe" -}}
{{- $default := .default -}}
{{- if or .given.tcpSocket .given.grpc .given.exec }}{{ $default = omit $default "httpGet" }}{{ end -}}
{{- with mergeOverwrite (deepCopy $default) .given }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* What both components' containers have: (dict "root" $ "of" … "image" … "http" 8080 "grpc" 8081 "ready" path "live" path). */}}
{{- define "hemline.container" -}}
image: {{ .image }}
imagePullPolicy: {{ .of.image.pullPolicy }}
ports:
  - {name: http1, containerPort: {{ .http }}, protocol: TCP}
  {{- if .grpc }}
  - {name: grpc, containerPort: {{ .grpc }}, protocol: TCP}
  {{- end }}
{{- $startup := dict }}
{{- $readiness := dict }}
{{- $liveness := dict }}
{{- if .ready }}
{{- $readiness = dict "httpGet" (dict "path" .ready "port" (int .http)) "periodSeconds" 1 "timeoutSeconds" 2 "failureThreshold" 2 }}
{{- end }}
{{- if .live }}
{{- $alive := dict "path" .live "port" (int .http) }}
{{- /* Time to load. Who only waits for somebody else is alive by then, and is not to be started anew. */}}
{{- $startup = dict "httpGet" $alive "periodSeconds" 1 "failureThreshold" 300 }}
{{- $liveness = dict "httpGet" $alive "periodSeconds" 10 "timeoutSeconds" 5 "failureThreshold" 3 }}
{{- end }}
{{- with include "hemline.probe" (dict "default" $startup "given" .of.probes.startup) }}
startupProbe:
  {{- . | nindent 2 }}
{{- end }}
{{- with include "hemline.probe" (dict "default" $readiness "given" .of.probes.readiness) }}
readinessProbe:
  {{- . | nindent 2 }}
{{- end }}
{{- with include "hemline.probe" (dict "default" $liveness "given" .of.probes.liveness) }}
livenessProbe:
  {{- . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .of.resources | nindent 2 }}
securityContext:
  {{- toYaml .root.Values.securityContext | nindent 2 }}
{{- with .of.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
