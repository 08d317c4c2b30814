# Each cluster's network: a namespace of its own, joined to one bridge.
# shellcheck shell=bash disable=SC2034,SC2154 # the scripts share their variables
#
# Cluster number N of a machine has, with the default network 10.213:
#
#   10.213.0.1             the bridge, on the machine
#   10.213.N.1             its node, with the API server on 6443
#   10.213.N.128/25        its load balancers
#   10.213.(16+N).0/24     its pods
#   10.213.(64+4N).0/22    its Services
#
# The first three are one link, 10.213.0.0/20, so machine and clusters reach each
# other's nodes and load balancers without routes; a node answers for its load
# balancers because they are local addresses to it. Pods leave their cluster
# under their node's address. Nothing leaves the machine.

network=${FEDHELM_NETWORK:-10.213}
bridge=fedhelm${network##*.} # one a network, so that clusters of another FEDHELM_STATE are left alone
max_clusters=12

# set_addresses derives a cluster's addresses from its number.
set_addresses() {
  netns=$bridge-$name
  veth=$bridge-v$number
  node_ip=$network.$number.1
  pool=$network.$number.128/25
  pool_range=$network.$number.129-$network.$number.254
  pod_cidr=$network.$((16 + number)).0/24
  service_cidr=$network.$((64 + 4 * number)).0/22
  dns_ip=$network.$((64 + 4 * number)).10
}

in_cluster() { nsenter --net="/run/netns/$netns" -- "$@"; }

ensure_bridge() {
  if [[ ! -e /sys/class/net/$bridge ]]; then
    [[ -z $(ip -4 route show "$network.0.0/16") && -z $(ip -4 route show root "$network.0.0/16") ]] ||
      die "the network $network.0.0/16 is in use on this machine, choose another one, such as FEDHELM_NETWORK=10.214"
    ip link add "$bridge" type bridge
    ip address add "$network.0.1/20" dev "$bridge"
    ip link set "$bridge" up
  fi
  # Where bridged frames pass iptables and the policy is to drop (Docker's
  # is), the clusters could not talk to each other.
  if [[ $(cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null) == 1 ]]; then
    iptables -w -C FORWARD "${bridge_rule[@]}" 2>/dev/null || iptables -w -I FORWARD "${bridge_rule[@]}"
  fi
}
bridge_rule=(-i "$bridge" -o "$bridge" -m comment --comment "fedhelm local clusters" -j ACCEPT)

remove_bridge() {
  [[ -e /sys/class/net/$bridge ]] || return 0
  ip link delete "$bridge"
  iptables -w -D FORWARD "${bridge_rule[@]}" 2>/dev/null || true
}

create_network() {
  ip netns add "$netns"
  ip link add "$veth" type veth peer name eth0 netns "$netns"
  ip link set "$veth" master "$bridge" up
  # shellcheck disable=SC2016 # for the inner shell
  in_cluster bash -euc '
    ip link set lo up
    ip address add "$1/20" dev eth0
    ip link set eth0 up
    ip route add default via "$2"
    ip route add local "$3" dev lo
    echo 1 >/proc/sys/net/ipv4/ip_forward' - "$node_ip" "$network.0.1" "$pool"
}

delete_network() {
  [[ ! -e /sys/class/net/$veth ]] || ip link delete "$veth"
  [[ ! -e /run/netns/$netns ]] || ip netns delete "$netns"
}
