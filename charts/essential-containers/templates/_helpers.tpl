{{/*
The prefix of all names. 50 characters leave room for a suffix in a DNS label. A
release name may have dots, a DNS label may not.
*/}}
{{- define "essential-containers.fullname" -}}
{{- $name := printf "%s-%s" .Release.Name .Chart.Name -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- $name = .Release.Name -}}
{{- end -}}
{{- .Values.fullnameOverride | default $name | replace "." "-" | trunc 50 | trimAll "-" -}}
{{- end -}}

{{/*
The name of a cluster-scoped object. Neither part has a dot, so two releases have
the same name only if both parts are the same.
*/}}
{{- define "essential-containers.clusterName" -}}
{{- include "essential-containers.fullname" . }}.{{ .Release.Namespace }}
{{- end -}}

{{/* The names of the webhook's objects. */}}
{{- define "essential-containers.webhookName" -}}
{{- include "essential-containers.fullname" . }}-webhook
{{- end -}}

{{- define "essential-containers.webhookServiceAccount" -}}
{{- .Values.webhook.serviceAccount.name | default (include "essential-containers.webhookName" .) }}
{{- end -}}

{{- define "essential-containers.webhookHost" -}}
{{- include "essential-containers.webhookName" . }}.{{ .Release.Namespace }}.svc
{{- end -}}

{{- define "essential-containers.webhookSecret" -}}
{{- include "essential-containers.webhookName" . }}-tls
{{- end -}}

{{/* The names of the reaper's objects. */}}
{{- define "essential-containers.reaperName" -}}
{{- include "essential-containers.fullname" . }}-reaper
{{- end -}}

{{- define "essential-containers.reaperServiceAccount" -}}
{{- .Values.reaper.serviceAccount.name | default (include "essential-containers.reaperName" .) }}
{{- end -}}

{{/* The reaper's user name. */}}
{{- define "essential-containers.reaperUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "essential-containers.reaperServiceAccount" . }}
{{- end -}}

{{/* webhook.namespaceSelector in the notation of kubectl, for the reaper's flag. Empty: every namespace. */}}
{{- define "essential-containers.namespaceSelector" -}}
{{- $terms := list -}}
{{- range $key, $value := .Values.webhook.namespaceSelector.matchLabels -}}
{{- $terms = append $terms (printf "%s=%s" $key $value) -}}
{{- end -}}
{{- range .Values.webhook.namespaceSelector.matchExpressions -}}
{{- if eq .operator "In" -}}
{{- $terms = append $terms (printf "%s in (%s)" .key (join "," .values)) -}}
{{- else if eq .operator "NotIn" -}}
{{- $terms = append $terms (printf "%s notin (%s)" .key (join "," .values)) -}}
{{- else if eq .operator "Exists" -}}
{{- $terms = append $terms .key -}}
{{- else -}}
{{- $terms = append $terms (printf "!%s" .key) -}}
{{- end -}}
{{- end -}}
{{- join "," $terms -}}
{{- end -}}

{{/* webhook.namespaceSelector in CEL, for the labels in variables.namespaceLabels. */}}
{{- define "essential-containers.optedIn" -}}
{{- $terms := list -}}
{{- range $key, $value := .Values.webhook.namespaceSelector.matchLabels -}}
{{- $terms = append $terms (printf "variables.namespaceLabels[?%s] == optional.of(%s)" (toJson $key) (toJson $value)) -}}
{{- end -}}
{{- range .Values.webhook.namespaceSelector.matchExpressions -}}
{{- $key := toJson .key -}}
{{- $in := printf "%s.exists(v, variables.namespaceLabels[?%s] == optional.of(v))" (.values | default list | toJson) $key -}}
{{- if eq .operator "In" -}}
{{- $terms = append $terms $in -}}
{{- else if eq .operator "NotIn" -}}
{{- $terms = append $terms (printf "!%s" $in) -}}
{{- else if eq .operator "Exists" -}}
{{- $terms = append $terms (printf "%s in variables.namespaceLabels" $key) -}}
{{- else -}}
{{- $terms = append $terms (printf "!(%s in variables.namespaceLabels)" $key) -}}
{{- end -}}
{{- end -}}
{{- $terms | join " && " | default "true" -}}
{{- end -}}

{{/*
The webhook's checks in CEL: whether the namespace opted in, the names in the
label, and whether each is the name of a container and occurs once.
Takes (dict "root" $ "pod" VARIABLE).
*/}}
{{- define "essential-containers.podVariables" -}}
- name: namespaceLabels
  expression: namespaceObject.?metadata.?labels.orValue({})
- name: optedIn
  expression: >-
    {{ include "essential-containers.optedIn" .root }}
- name: names
  expression: {{ .pod }}.?metadata.?labels[?"essential-containers"].orValue("").split("_")
- name: namesAreContainers
  expression: {{ .pod }}.?spec.?containers.orValue([]).filter(c, c.name in variables.names).size() == variables.names.size()
{{- end -}}

{{/* The matchConstraints of a policy for new pods. */}}
{{- define "essential-containers.newPods" -}}
matchPolicy: Equivalent
resourceRules:
  - operations: [CREATE]
    apiGroups: [""]
    apiVersions: [v1]
    resources: [pods]
    scope: Namespaced
{{- end -}}

{{/* The ConfigMap that puts the policy "tracking" into effect. */}}
{{- define "essential-containers.trackingName" -}}
{{- include "essential-containers.fullname" . }}-tracking
{{- end -}}

{{/*
The binding that puts a policy into effect. Takes (dict "root" $ "policy" NAME
"actions" LIST) and optionally "param", a ConfigMap: without it, the policy has
no effect.
*/}}
{{- define "essential-containers.policyBinding" -}}
{{- $name := printf "%s.%s" (include "essential-containers.clusterName" .root) .policy -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "essential-containers.labels" (dict "root" .root "component" "reaper") | nindent 4 }}
spec:
  policyName: {{ $name }}
  validationActions: {{ toJson .actions }}
  {{- with .param }}
  paramRef:
    name: {{ . }}
    namespace: {{ $.root.Release.Namespace }}
    parameterNotFoundAction: Allow
  {{- end }}
{{- end -}}

{{/* The selector of a component's pods. This template and all below take (dict "root" $ "component" NAME). */}}
{{- define "essential-containers.selectorLabels" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "essential-containers.labels" -}}
{{ include "essential-containers.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "essential-containers.podMetadata" -}}
{{- $values := index .root.Values .component -}}
labels:
  {{- include "essential-containers.selectorLabels" . | nindent 2 }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The common part of the pod specs. */}}
{{- define "essential-containers.podSpec" -}}
{{- $values := index .root.Values .component -}}
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
# A preference: a cluster with one node runs all replicas on it.
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "essential-containers.selectorLabels" . | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{/* The common part of the containers. */}}
{{- define "essential-containers.container" -}}
{{- $values := index .root.Values .component -}}
{{- $image := .root.Values.image -}}
name: {{ .component }}
{{- if $image.digest }}
image: {{ printf "%s@%s" $image.repository $image.digest | quote }}
{{- else }}
image: {{ printf "%s:%s" $image.repository ($image.tag | default .root.Chart.AppVersion) | quote }}
{{- end }}
imagePullPolicy: {{ $image.pullPolicy }}
livenessProbe:
  httpGet:
    path: /healthz
    port: probes
readinessProbe:
  httpGet:
    path: /readyz
    port: probes
  periodSeconds: 2
{{- with $values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if dig "limits" "memory" "" ($values.resources | default dict) }}
env:
  # The program keeps its Go heap below this limit.
  - name: MEMORY_LIMIT
    valueFrom:
      resourceFieldRef:
        resource: limits.memory
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* The common flags, followed by the user's: the last of two equal flags counts. */}}
{{- define "essential-containers.args" -}}
- --metrics-bind-address=:8080
- --health-probe-bind-address=:8081
- --zap-log-level={{ .root.Values.logLevel }}
{{- range (index .root.Values .component).extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}
