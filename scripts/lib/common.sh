# What every script here needs: where things are, and how to speak.
# shellcheck shell=bash disable=SC2034,SC2154 # the scripts share their variables

scripts_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
checkout_dir=$(dirname "$scripts_dir")
cache_dir=${FEDHELM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fedhelm}

# shellcheck source=scripts/versions.env
source "$scripts_dir/versions.env"

say() { printf '%s\n' "$*" >&2; }
die() {
  say "$(basename "$0"): $*"
  exit 1
}

# The comment at the top of a script is its help.
print_help() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"; }

# Debian packages by a command each of them brings, as package=command.
require_packages() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair#*=}" >/dev/null || missing+=("${pair%%=*}")
  done
  ((${#missing[@]})) || return 0

  command -v apt-get >/dev/null || die "needs these programs' packages: ${missing[*]}"
  ((EUID == 0)) || die "some Debian packages are missing, install them with: sudo apt-get install --no-install-recommends ${missing[*]}"
  say "installing Debian packages: ${missing[*]}"
  local log
  log=$(mktemp)
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "apt-get could not install: ${missing[*]}"
  fi
  rm -f "$log"
}
