#!/bin/bash
# Writes the kubeconfig that joins a cluster as a Secret encrypted by SOPS, so that it can be in Git; a rule of .sops.yaml without path_regex says with which key:
#
#   examples/secrets/sops.sh gondor > gondor-kubeconfig.sops.yaml
#   sops decrypt gondor-kubeconfig.sops.yaml | kubectl --context=rivendell apply --filename=-
#
# Only the data is encrypted, so that Flux still reads the Secret's name.
set -euo pipefail
cluster=$1 context=${2:-$1}
kubectl config view --raw --minify --flatten --context="$context" |
  kubectl create secret generic "$cluster-kubeconfig" --namespace=federation-system --from-file=kubeconfig=/dev/stdin --dry-run=client --output=yaml |
  sops encrypt --input-type=yaml --output-type=yaml --encrypted-regex='^(data|stringData)$' /dev/stdin
