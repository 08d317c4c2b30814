# The parts of a cluster: how each is configured and started.
# shellcheck shell=bash disable=SC2034,SC2154 # the scripts share their variables
#
# Flags and files follow what kubeadm would do; what differs, differs because
# several clusters share one machine, and because nothing in them is precious.

# Debian's place for the plugins, unless they are where most others put them.
cni_bin=/usr/lib/cni
if [[ -x /opt/cni/bin/ptp ]]; then cni_bin=/opt/cni/bin; fi

kubeadm() { in_cluster "$bin/kubeadm" "$@" --config "$dir/kubeadm.yaml"; }
kubectl() { "$bin/kubectl" --kubeconfig "$dir/admin.conf" --request-timeout 5s "$@"; }
ctr() { command ctr --address "$dir/containerd.sock" --namespace k8s.io "$@"; }

make_certificates() {
  cat >"$dir/kubeadm.yaml" <<END
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint:
  advertiseAddress: $node_ip
nodeRegistration:
  name: $name
  criSocket: unix://$dir/containerd.sock
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: $name
kubernetesVersion: $KUBERNETES_VERSION
certificatesDir: $dir/pki
networking:
  podSubnet: $pod_cidr
  serviceSubnet: $service_cidr
apiServer:
  certSANs: [127.0.0.1, localhost]
END
  if ! {
    kubeadm init phase certs all &&
      kubeadm init phase kubeconfig all --kubeconfig-dir "$dir"
  } >"$dir/logs/kubeadm.log" 2>&1; then
    component_failed kubeadm "could not make the certificates"
  fi
  # One kubeconfig of several clusters needs their names in contexts and users.
  sed "s/kubernetes-admin@$name/$name/; s/kubernetes-admin/$name/" "$dir/admin.conf" >"$dir/kubeconfig"
}

# The data is thrown away with the cluster: it need not survive a power cut.
start_etcd() {
  launch etcd "$bin/etcd" --name "$name" --data-dir "$dir/etcd" --unsafe-no-fsync \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster "$name=http://127.0.0.1:2380"
}

# It listens on the node's address alone: the load balancers' addresses are
# local too, and one without a Service must refuse connections.
start_apiserver() {
  local pki=$dir/pki
  launch kube-apiserver "$bin/kube-apiserver" \
    --advertise-address="$node_ip" --bind-address="$node_ip" --secure-port=6443 \
    --allow-privileged=true --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --enable-bootstrap-token-auth=true --etcd-servers=http://127.0.0.1:2379 \
    --client-ca-file="$pki/ca.crt" \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" \
    --kubelet-client-key="$pki/apiserver-kubelet-client.key" \
    --kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname \
    --proxy-client-cert-file="$pki/front-proxy-client.crt" --proxy-client-key-file="$pki/front-proxy-client.key" \
    --requestheader-client-ca-file="$pki/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
    --service-cluster-ip-range="$service_cidr"
}

# Its usual request rate holds it back for seconds when it starts.
start_controller_manager() {
  local pki=$dir/pki conf=$dir/controller-manager.conf
  launch kube-controller-manager "$bin/kube-controller-manager" \
    --kubeconfig="$conf" --authentication-kubeconfig="$conf" --authorization-kubeconfig="$conf" \
    --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials=true \
    --kube-api-qps=200 --kube-api-burst=400 \
    --controllers='*,bootstrapsigner,tokencleaner' --cluster-name="$name" \
    --allocate-node-cidrs=true --cluster-cidr="$pod_cidr" --service-cluster-ip-range="$service_cidr" \
    --client-ca-file="$pki/ca.crt" --root-ca-file="$pki/ca.crt" \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
    --requestheader-client-ca-file="$pki/front-proxy-ca.crt" \
    --service-account-private-key-file="$pki/sa.key"
}

start_scheduler() {
  local conf=$dir/scheduler.conf
  launch kube-scheduler "$bin/kube-scheduler" \
    --kubeconfig="$conf" --authentication-kubeconfig="$conf" --authorization-kubeconfig="$conf" \
    --bind-address=127.0.0.1 --leader-elect=false
}

start_containerd() {
  cat >"$dir/containerd.toml" <<END
version = 2
root = "$dir/containerd"
state = "$dir/containerd-state"
[grpc]
  address = "$dir/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$dir/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:$PAUSE_IMAGE_TAG"
  restrict_oom_score_adj = true # else runc fails where CAP_SYS_RESOURCE is missing
  netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "$cni_bin"
  conf_dir = "$dir/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
END
  # ptp, not bridge: pods on a common bridge would answer each other past the
  # node, and a Service's address would never be translated back.
  mkdir -p "$dir/cni"
  cat >"$dir/cni/10-pods.conflist" <<END
{
  "cniVersion": "1.0.0",
  "name": "$netns",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": true,
      "ipam": {
        "type": "host-local",
        "dataDir": "$dir/cni-addresses",
        "ranges": [[{"subnet": "$pod_cidr"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
END
  launch containerd containerd --config "$dir/containerd.toml"
}

# Images cannot be pulled again, so the kubelet must never clean them up.
start_kubelet() {
  echo "nameserver $node_ip" >"$dir/resolv.conf"
  cat >"$dir/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $dir/pki/ca.crt}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup_root/$name
failCgroupV1: false
failSwapOn: false
clusterDomain: cluster.local
clusterDNS: [$dns_ip]
resolvConf: $dir/resolv.conf
containerRuntimeEndpoint: unix://$dir/containerd.sock
podLogsDir: $dir/pod-logs
volumePluginDir: $dir/volume-plugins
imageGCHighThresholdPercent: 100
evictionHard:
  memory.available: 50Mi
  nodefs.available: 1%
  nodefs.inodesFree: 1%
  imagefs.available: 1%
END
  local region zone
  read -r region zone < <(topology)
  launch kubelet "$bin/kubelet" --config="$dir/kubelet.yaml" --kubeconfig="$dir/kubelet.conf" \
    --root-dir="$dir/kubelet" --cert-dir="$dir/pki/kubelet" --hostname-override="$name" --node-ip="$node_ip" \
    --node-labels="topology.kubernetes.io/region=$region,topology.kubernetes.io/zone=$zone"
}

# topology prints region and zone. FEDHELM_TOPOLOGY overrides, as
# "rivendell=eriador/eriador-a gondor=south/south-a".
topology() {
  local entry region=
  for entry in rivendell=eriador/eriador-a gondor=south/south-a shire=west/west-a ${FEDHELM_TOPOLOGY-}; do
    if [[ ${entry%%=*} == "$name" ]]; then region=${entry#*=}; fi
  done
  region=${region:-region-$name/region-$name-a}
  echo "${region%%/*} ${region#*/}"
}

# It keeps its hands off the connection tracking of the whole machine.
start_proxy() {
  cat >"$dir/kube-proxy.yaml" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
hostnameOverride: $name
clusterCIDR: $pod_cidr
clientConnection: {kubeconfig: $dir/super-admin.conf}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
END
  launch kube-proxy "$bin/kube-proxy" --config "$dir/kube-proxy.yaml"
}

start_addons() {
  mkdir -p "$dir/volumes"
  launch cluster-addons "$bin/cluster-addons" --kubeconfig "$dir/super-admin.conf" --node "$name" \
    --pool "$pool_range" --load-balancer-switch "$dir/load-balancer" --volumes "$dir/volumes" --dns "$node_ip"
}

# What kubeadm would put into the new cluster: roles for administrators and for
# the API server at the kubelet (logs, exec), and CoreDNS, which notices a new
# Corefile sooner here; and what a cloud would, a default StorageClass.
create_basics() {
  {
    cat <<END
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: kubeadm:cluster-admins
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: cluster-admin
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: Group
  name: kubeadm:cluster-admins
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: kubeadm:apiserver-kubelet-client
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:kubelet-api-admin
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: User
  name: kube-apiserver-kubelet-client
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: standard
  annotations:
    storageclass.kubernetes.io/is-default-class: "true"
provisioner: fedhelm.dev/local
reclaimPolicy: Delete
volumeBindingMode: WaitForFirstConsumer
---
END
    kubeadm init phase addon coredns --kubeconfig "$dir/super-admin.conf" --print-manifest |
      sed 's/^\( *\)reload$/\1reload 5s/'
  } >"$dir/basics.yaml"
  "$bin/kubectl" --kubeconfig "$dir/super-admin.conf" create --field-manager kubeadm -f "$dir/basics.yaml" >"$dir/logs/basics.log" 2>&1 ||
    component_failed basics "could not be created"
}
