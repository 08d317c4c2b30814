# Starting a cluster's processes, waiting for them, and ending all of them.
# shellcheck shell=bash disable=SC2034,SC2154 # the scripts share their variables

# launch COMPONENT COMMAND... starts a process in the cluster's network that
# outlives this script. Descriptor 9 is the lock: it must not outlive it too.
launch() {
  local component=$1
  shift
  setsid nsenter --net="/run/netns/$netns" -- "$@" >"$dir/logs/$component.log" 2>&1 </dev/null 9>&- &
  echo $! >"$dir/pids/$component"
  disown
}

# wait_for SECONDS COMPONENT CONDITION... polls the condition. When it never
# comes, or the component dies first, the component's log says why.
wait_for() {
  local deadline=$((SECONDS + $1)) component=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    alive "$component" || component_failed "$component" "ended"
    ((SECONDS < deadline)) || component_failed "$component" "is not ready: waited for \`$*\`"
    sleep 0.2
  done
}

component_failed() {
  say "$name: the last lines of $dir/logs/$1.log:"
  tail -n 15 "$dir/logs/$1.log" | sed 's/^/    /' >&2
  die "$name: $1 $2"
}

# alive COMPONENT: its pid file names a running process, and it is this cluster's.
alive() { is_ours "$(cat "$dir/pids/$1" 2>/dev/null)"; }

# A pid may have passed on to somebody else. Every process of a cluster has the
# cluster's folder in its command line, containerd's shims included.
is_ours() { [[ -n $1 && $(tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline") == *"$dir/"* ]]; }

# end_processes ends the cluster's own processes, then what runs in its pods.
# With SIGKILL: there is nothing to save, and containerd would wait for tasks.
end_processes() {
  local deadline=$((SECONDS + 20)) pid pids
  while mapfile -t pids < <(cluster_pids) && ((${#pids[@]})); do
    for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    ((SECONDS < deadline)) || die "$name: processes do not end: ${pids[*]}"
    sleep 0.1
  done
}

# cluster_pids lists what lives in the cluster's network namespace or stands in
# a pid file and is ours, and what lives in its pods' cgroups, which is ours by
# definition. Together they find all of it after a crash too.
cluster_pids() {
  local pid
  {
    cat "$dir"/pids/* 2>/dev/null || true
    [[ ! -e /run/netns/$netns ]] || ip netns pids "$netns"
  } | while read -r pid; do
    if is_ours "$pid"; then echo "$pid"; fi
  done
  pod_cgroups | while read -r cgroup; do cat "$cgroup/cgroup.procs" 2>/dev/null || true; done
}

# The kubelet's pods are below /BRIDGE/NAME in the cgroup tree: in one tree
# (v2), or in one for each controller (v1).
cgroup_root=$bridge
cgroup_trees() {
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    echo /sys/fs/cgroup
  else
    find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d
  fi
}

pod_cgroups() {
  local tree
  for tree in $(cgroup_trees); do
    [[ ! -d $tree/$cgroup_root/$name ]] || find "$tree/$cgroup_root/$name" -depth -type d
  done
}

create_cgroups() {
  local tree file
  for tree in $(cgroup_trees); do
    mkdir -p "$tree/$cgroup_root/$name"
    # v1's cpusets start empty, and no process may enter an empty one.
    for file in cpuset.cpus cpuset.mems; do
      [[ $tree == */cpuset ]] || continue
      cat "$tree/$file" >"$tree/$cgroup_root/$file"
      cat "$tree/$file" >"$tree/$cgroup_root/$name/$file"
    done
  done
}

delete_cgroups() {
  local tree
  pod_cgroups | xargs -r rmdir 2>/dev/null || true
  for tree in $(cgroup_trees); do
    [[ ! -d $tree/$cgroup_root ]] || rmdir "$tree/$cgroup_root" 2>/dev/null || true
  done
}

# unmount_all unmounts what lies below the cluster's folder, the deepest first.
unmount_all() {
  awk -v below="$dir/" 'index($5, below) == 1 {print $5}' /proc/self/mountinfo | tac |
    while read -r mount; do
      mount=$(printf '%b' "$mount") # spaces stand there as \040
      umount "$mount" 2>/dev/null || umount -l "$mount"
    done
}
