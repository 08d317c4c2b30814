# Our programs and their images, for scripts/image and scripts/release. Who sources it has a folder $work.
# shellcheck shell=bash disable=SC2034,SC2154 # the scripts share their variables

image_registry=ghcr.io/fedhelm
image_path="ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# chart_version version|appVersion [CHART]
chart_version() { sed -n "s/^$1: *\"\{0,1\}\([^\" ]*\).*/\1/p" "$checkout_dir/charts/${2:-federation-control-plane}/Chart.yaml"; }

# build_program NAME VERSION FILE, for $GOOS and $GOARCH. -trimpath, so that every checkout makes the same.
build_program() {
  CGO_ENABLED=0 go -C "$checkout_dir" build -trimpath -buildvcs=false -ldflags "-s -w -X github.com/fedhelm/fedhelm/pkg/fedhook.Version=$2" -o "$3" "./cmd/$1"
}

# image_root ROOT FOLDER BINARY... lays out an image's files: what distroless, the official images' base, has (users by name, and /tmp), and the programs in their folder.
image_root() {
  local root=$1 folder=$2 binary
  mkdir -p "$root$folder"
  install -d -m 755 "$root/etc"
  install -d -m 1777 "$root/tmp"
  printf '%s\n' 'root:x:0:0:root:/root:/sbin/nologin' 'nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin' \
    'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$root/etc/passwd"
  printf '%s\n' 'root:x:0:' 'nobody:x:65534:' 'nonroot:x:65532:' >"$root/etc/group"
  for binary in "${@:3}"; do
    install -m 755 "$binary" "$root$folder"
    # So the official builds do: under "drop: [ALL]" these two start only
    # where NET_BIND_SERVICE is added again.
    case ${binary##*/} in
      kube-apiserver | coredns) setcap cap_net_bind_service=+ep "$root$folder/${binary##*/}" ;;
    esac
  done
}

# run_buildah ARGUMENT... with a storage of its own below $work, and silent unless it fails.
run_buildah() {
  if ! buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@" >"$work/buildah.log" 2>&1; then
    tail -n 20 "$work/buildah.log" >&2
    die "buildah $1 failed"
  fi
}
