#!/bin/bash
# Writes the kubeconfig that joins a cluster as a SealedSecret, which only the host cluster's controller can open, so that it can be in Git:
#
#   examples/secrets/seal.sh rivendell gondor > gondor-kubeconfig.yaml
#
# Its key is the Secret's name and namespace too: a SealedSecret that is renamed cannot be opened.
set -euo pipefail
host=$1 cluster=$2 context=${3:-$2}
kubectl config view --raw --minify --flatten --context="$context" |
  kubectl create secret generic "$cluster-kubeconfig" --namespace=federation-system --from-file=kubeconfig=/dev/stdin --dry-run=client --output=yaml |
  kubeseal --context="$host" --format=yaml
