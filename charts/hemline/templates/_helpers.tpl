{{/* The InferenceService's name. KServe makes labels of it with `isvc.…-transformer`, which have at most 63 characters. */}}
{{- define "hemline.name" -}}
{{- $name := default .Release.Name .Values.fullnameOverride -}}
{{- if or (gt (len $name) 46) (not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name)) -}}
{{- fail (printf "fullnameOverride: an InferenceService is called by at most 46 of a-z, 0-9 and -, from a letter on; got `%s`" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/*
Metadata of objects that are not InferenceServices: (dict "root" $ "name" "…" "labels" (dict …) "annotations" (dict …)), the last two where there are more.
The labels of an InferenceService go on to pods, and a new version of the chart would replace all of them.
*/}}
{{- define "hemline.metadata" -}}
{{- $chart := dict "app.kubernetes.io/name" "hemline" "app.kubernetes.io/instance" .root.Release.Name "app.kubernetes.io/managed-by" .root.Release.Service -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- merge $chart (default dict .labels) .root.Values.commonLabels | toYaml | nindent 2 }}
{{- with merge (dict) (default dict .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The labels by which KServe finds a component's pods: (dict "root" $ "component" "transformer"). */}}
{{- define "hemline.selector" -}}
serving.kserve.io/inferenceservice: {{ include "hemline.name" .root }}
component: {{ .component }}
{{- end -}}

{{/* The labels of the shop's pods. */}}
{{- define "hemline.storefrontSelector" -}}
app.kubernetes.io/name: hemline
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: storefront
{{- end -}}

{{/* Where the shop finds the transformer: the Service that KServe makes for it, or for the predictor in whose pod it is. */}}
{{- define "hemline.transformerUrl" -}}
{{- $component := .Values.collocated | ternary "predictor" "transformer" -}}
{{- default (printf "http://%s-%s.%s" (include "hemline.name" .) $component .Release.Namespace) .Values.storefront.transformerUrl -}}
{{- end -}}

{{/* registry/repository:tag, or @digest: (dict "root" $ "image" .Values.transformer.image "repository" "…"). */}}
{{- define "hemline.image" -}}
{{- $registry := default .root.Values.global.imageRegistry .image.registry -}}
{{- $repository := default .repository .image.repository -}}
{{- if $registry }}{{ $registry }}/{{ end -}}
{{- $repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .root.Chart.AppVersion .image.tag }}{{ end -}}
{{- end -}}

{{- define "hemline.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "hemline.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Flags of settings: camelCase becomes --camel-case. Numbers of a file are floats, and large ones would come out as 1e+07. */}}
{{- define "hemline.flags" -}}
{{- range $name, $value := . }}
{{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}
{{- $value = printf "%.0f" $value }}
{{- end }}
- {{ printf "--%s=%v" (kebabcase $name) $value | quote }}
{{- end }}
{{- end -}}

{{/* What every server of ours is started with. */}}
{{- define "hemline.drainFlags" -}}
- --drain-delay={{ .Values.drain.delaySeconds }}s
- --drain-timeout={{ .Values.drain.timeoutSeconds }}s
{{- end -}}

{{/* Longer than a drain takes, so that nobody is killed in the middle of it: (dict "root" $ "component" "…"). */}}
{{- define "hemline.grace" -}}
{{- $v := .root.Values -}}
{{- $custom := and (eq .component "predictor") (eq $v.predictor.kind "custom") -}}
{{- add $v.drain.delaySeconds $v.drain.timeoutSeconds 5 ($custom | ternary $v.predictor.custom.preStopSeconds 0) -}}
{{- end -}}

{{/* Whether a component's replicas are more than one: (dict "root" $ "of" .Values.transformer). */}}
{{- define "hemline.isMany" -}}
{{- $scaled := ne .root.Values.autoscaling.class "none" -}}
{{- if or (gt (int .of.minReplicas) 1) (and $scaled (gt (int .of.maxReplicas) 1)) -}}yes{{- end -}}
{{- end -}}

{{/* What can't be: each with its reason. */}}
{{- define "hemline.check" -}}
{{- $v := .Values -}}
{{- if and $v.kserve.checkApi (not (.Capabilities.APIVersions.Has "serving.kserve.io/v1beta1")) -}}
{{- fail "this cluster has no KServe (serving.kserve.io/v1beta1): install it first, or set kserve.checkApi=false to render without a cluster" -}}
{{- end -}}
{{- $bundles := list $v.bundle.uri $v.bundle.volume $v.bundle.path | compact | len -}}
{{- $needsBundle := or $v.transformer.enabled (eq $v.predictor.kind "gbdt") -}}
{{- if and $needsBundle (ne $bundles 1) -}}
{{- fail "bundle: give one of uri, volume and path" -}}
{{- end -}}
{{- if $v.transformer.enabled -}}
{{- if and (not $v.store.url) (not $v.store.existingSecret.name) -}}
{{- fail "store: give url or existingSecret.name" -}}
{{- end -}}
{{- if and $v.store.url (not (hasPrefix $v.store.kind $v.store.url)) -}}
{{- fail (printf "store.url: store.kind is %s, which is another URL's" $v.store.kind) -}}
{{- end -}}
{{- $many := $v.collocated | ternary (include "hemline.isMany" (dict "root" . "of" $v.predictor)) (include "hemline.isMany" (dict "root" . "of" $v.transformer)) -}}
{{- if and (eq $v.store.kind "sqlite") $many -}}
{{- fail "store.kind: SQLite is a file of one machine, so there can be one transformer; several need a postgres:// store" -}}
{{- end -}}
{{- if and (eq $v.store.kind "sqlite") (not $v.store.volume) -}}
{{- fail "store.volume: SQLite needs a volume that outlives the pod" -}}
{{- end -}}
{{- if $v.ranker.name -}}
{{- fail "ranker.name: a ranker gives scores, and this release's address is its transformer, which gives rankings: set transformer.enabled=false" -}}
{{- end -}}
{{- else if $v.collocated -}}
{{- fail "collocated: there is no transformer to put into the predictor's pod" -}}
{{- end -}}
{{- $ports := list (int $v.predictor.custom.port) (int $v.predictor.custom.grpcPort) -}}
{{- if and $v.collocated (eq $v.predictor.kind "custom") (or (has 8080 $ports) (has 8081 $ports)) -}}
{{- fail "predictor.custom.port: in one pod, 8080 and 8081 are the transformer's" -}}
{{- end -}}
{{- if and $v.storefront.enabled (not $v.transformer.enabled) (not $v.storefront.transformerUrl) -}}
{{- fail "storefront.transformerUrl: this release has no transformer, so the shop must be told of one" -}}
{{- end -}}
{{- if and (eq $v.predictor.kind "llm") (not $v.predictor.llm.url) -}}
{{- fail "predictor.llm.url: give the base URL of an OpenAI-compatible API" -}}
{{- end -}}
{{- if and (eq $v.predictor.kind "custom") (not $v.predictor.image.repository) -}}
{{- fail "predictor.image.repository: give the image of the custom predictor" -}}
{{- end -}}
{{- end -}}

{{/* The bundle as a volume, where it is one: a claim of pvc:// or the given one. Else KServe fetches it. */}}
{{- define "hemline.bundleVolume" -}}
{{- $v := .Values.bundle -}}
{{- if $v.volume }}
name: bundle
{{ toYaml $v.volume }}
{{- else if hasPrefix "pvc://" $v.uri }}
name: bundle
persistentVolumeClaim: {claimName: {{ index (splitList "/" (trimPrefix "pvc://" $v.uri)) 0 }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "hemline.bundleSubPath" -}}
{{- $v := .Values.bundle -}}
{{- if $v.volume }}{{ $v.subPath }}{{ else if hasPrefix "pvc://" $v.uri }}{{ join "/" (rest (splitList "/" (trimSuffix "/" (trimPrefix "pvc://" $v.uri)))) }}{{ end -}}
{{- end -}}

{{- define "hemline.bundleMount" -}}
name: bundle
mountPath: /mnt/models
readOnly: true
{{- with include "hemline.bundleSubPath" . }}
subPath: {{ . }}
{{- end }}
{{- end -}}

{{/* Over nodes, as far as can be: (dict "root" $ "component" "…" "of" .Values.…). */}}
{{- define "hemline.spread" -}}
{{- if .of.topologySpreadConstraints }}
{{- toYaml .of.topologySpreadConstraints }}
{{- else }}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "hemline.selector" (dict "root" .root "component" .component) | nindent 6 }}
{{- end }}
{{- end -}}
