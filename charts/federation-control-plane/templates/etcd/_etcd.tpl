{{/*
An etcd of one member whose clients need a certificate of its CA. Takes: context, component, values, flags (beside those that every etcd has), and optional claim (its
volume; else the data lasts as long as the pod), peers: true for one that others may join, with a certificate for them, and last: true for one that its clients, when they
are stopped together, still need for a moment.
*/}}
{{- define "controlPlane.etcd" -}}
{{- $values := .values -}}
{{- $name := printf "%s-%s" .context.Release.Name .component -}}
{{- $pki := "/etc/federation/pki" -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "fedhelm.metadata" (merge (dict "name" $name) .) | nindent 2 }}
spec:
  serviceName: {{ $name }}
  replicas: 1
  selector:
    matchLabels:
      {{- include "fedhelm.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      {{- include "fedhelm.podMetadata" . | nindent 6 }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- include "fedhelm.podSpec" . | nindent 6 }}
      containers:
        - name: etcd
          {{- include "fedhelm.container" . | nindent 10 }}
          command:
            - etcd
            {{- include "fedhelm.arguments" (dict "overrides" $values.argOverrides "defaults" (merge (dict
                  "name" $name
                  "data-dir" "/var/lib/etcd/data"
                  "listen-client-urls" "https://0.0.0.0:2379"
                  "advertise-client-urls" (printf "https://%s.%s.svc:2379" $name (include "fedhelm.namespace" .))
                  "listen-metrics-urls" "http://0.0.0.0:2381"
                  "client-cert-auth" "true"
                  "trusted-ca-file" (printf "%s/server/ca.crt" $pki)
                  "cert-file" (printf "%s/server/tls.crt" $pki)
                  "key-file" (printf "%s/server/tls.key" $pki)
                ) .flags)) | nindent 12 }}
          ports:
            - name: client
              containerPort: 2379
            {{- if .peers }}
            - name: peer
              containerPort: 2380
            {{- end }}
            - name: metrics
              containerPort: 2381
          startupProbe:
            httpGet:
              path: /readyz
              port: metrics
            periodSeconds: 1
            timeoutSeconds: {{ $values.probes.timeoutSeconds }}
            failureThreshold: 120
          livenessProbe:
            httpGet:
              path: /livez
              port: metrics
            {{- include "fedhelm.probeTimings" $values.probes | nindent 12 }}
          readinessProbe:
            httpGet:
              path: /readyz
              port: metrics
            {{- include "fedhelm.probeTimings" $values.probes | nindent 12 }}
          {{- if .last }}
          lifecycle:
            preStop:
              sleep:
                seconds: 3
          {{- end }}
          volumeMounts:
            - name: data
              mountPath: /var/lib/etcd
            - name: server
              mountPath: {{ $pki }}/server
              readOnly: true
            {{- if .peers }}
            - name: peer
              mountPath: {{ $pki }}/peer
              readOnly: true
            {{- end }}
      volumes:
        - name: data
          {{- with .claim }}
          persistentVolumeClaim:
            claimName: {{ . | quote }}
          {{- else }}
          emptyDir: {}
          {{- end }}
        - name: server
          secret:
            secretName: {{ $name }}-tls
            defaultMode: 0440
        {{- if .peers }}
        - name: peer
          secret:
            secretName: {{ $name }}-peer
            defaultMode: 0440
        {{- end }}
{{- end }}
