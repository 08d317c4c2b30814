#!/bin/bash
# How a federation was made with kubefed. The files in helmfile/, argocd/applications.yaml and values/ are what `fedhook generate` makes of it.
host=rivendell
kubefed init fellowship --host-cluster-context=$host \
  --dns-provider=coredns --dns-zone-name=federation.internal. --api-server-service-type=NodePort
kubectl config use-context fellowship
for cluster in gondor shire; do
  kubefed join $cluster --host-cluster-context=$host
done
