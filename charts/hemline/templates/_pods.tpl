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
{{- if and (eq $v.autoscaling.class "keda") .of.metrics }}
autoScaling:
  metrics:
    {{- toYaml .of.metrics | nindent 4 }}
{{- end }}
{{- with .of.podLabels }}
labels:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
# One pod more while pods are replaced, and none less.
deploymentStrategy:
  type: RollingUpdate
  rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
serviceAccountName: {{ include "hemline.serviceAccountName" .root }}
automountServiceAccountToken: {{ and $v.ranking.fromCluster (or (eq .component "transformer") $v.collocated) }}
terminationGracePeriodSeconds: {{ include "hemline.grace" .root }}
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

{{/* What both components' containers have: (dict "root" $ "of" … "image" … "http" 8080 "grpc" 8081 "ready" path). */}}
{{- define "hemline.container" -}}
image: {{ .image }}
imagePullPolicy: {{ .of.image.pullPolicy }}
ports:
  - {name: http1, containerPort: {{ .http }}, protocol: TCP}
  {{- if .grpc }}
  - {name: grpc, containerPort: {{ .grpc }}, protocol: TCP}
  {{- end }}
{{- if .live }}
# Time to load. Who only waits for somebody else is alive by then, and is not to be started anew.
startupProbe:
  httpGet: {path: {{ .live }}, port: {{ .http }}}
  periodSeconds: 1
  failureThreshold: 300
{{- end }}
{{- if .ready }}
readinessProbe:
  httpGet: {path: {{ .ready }}, port: {{ .http }}}
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 2
{{- end }}
{{- if .live }}
livenessProbe:
  httpGet: {path: {{ .live }}, port: {{ .http }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
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
