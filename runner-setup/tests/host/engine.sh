# Sourced by the targets that need containers: a Docker engine of our own, and an image of a
# Debian host made from packages. Nothing here touches another engine on this machine.
set -euo pipefail

CACHE=${CACHE:?folder for the engine and the image}
# A second run at the same time needs a bridge and a network of its own.
BRIDGE=${BRIDGE:-thebes0}
export GATEWAY=${GATEWAY:-10.213.0.1}
export DOCKER_HOST=unix://$CACHE/docker.sock

install_packages() {
  local missing=()
  for package in "$@"; do
    dpkg-query --show --showformat='${db:Status-Abbrev}' "$package" 2>&1 | grep -q '^ii' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$CACHE/apt.log"
}

start_engine() {
  [ "$(id -u)" -eq 0 ] || { echo "test-hosts needs root, as it starts a Docker engine" >&2; exit 1; }
  mkdir -p "$CACHE"
  install_packages docker.io iptables debootstrap iproute2 openssl
  exec 9>"/run/lock/$BRIDGE.lock"
  flock --nonblock 9 || { echo "another run uses the bridge $BRIDGE: wait for it, or set BRIDGE and GATEWAY" >&2; exit 1; }
  ip link show $BRIDGE >/dev/null 2>&1 || ip link add $BRIDGE type bridge
  ip address replace $GATEWAY/24 dev $BRIDGE
  ip link set $BRIDGE up
  /usr/sbin/dockerd --bridge=$BRIDGE --data-root="$CACHE/docker" --exec-root="$CACHE/exec" \
    --pidfile="$CACHE/docker.pid" --host="$DOCKER_HOST" >"$CACHE/dockerd.log" 2>&1 &
  ENGINE=$!
  trap stop_engine EXIT
  for _ in $(seq 100); do
    /usr/bin/docker version >/dev/null 2>&1 && return
    kill -0 $ENGINE 2>/dev/null || break
    sleep 0.2
  done
  tail -5 "$CACHE/dockerd.log" >&2
  echo "dockerd did not start; its log is $CACHE/dockerd.log" >&2
  exit 1
}

stop_engine() {
  local code=$?
  set +e # what was killed ends with a status of its own
  for process in "${FAKE:-}" "$ENGINE"; do
    [ -n "$process" ] && kill "$process" && wait "$process"
  done
  ip link delete $BRIDGE
  exit $code
}

# Give a new system this machine's package sources, and the way to them.
copy_apt_settings() {
  local root=$1
  rm -f "$root/etc/apt/sources.list"
  cp -a /etc/apt/sources.list.d/. "$root/etc/apt/sources.list.d/"
  [ -f /etc/apt/sources.list ] && cp /etc/apt/sources.list "$root/etc/apt/"
  find "$root/etc/apt/sources.list.d" -type f ! -name '*.sources' ! -name '*.list' -delete
  # Settings of the way to the mirror (proxies, certificates), but none that change what is installed.
  grep -lE '^ *Acquire' /etc/apt/apt.conf.d/* 2>/dev/null | xargs -r cp -t "$root/etc/apt/apt.conf.d/"
}

# A Debian host as a cloud provider would hand it out: systemd, Python, certificates, apt sources.
build_image() {
  [ -n "$(/usr/bin/docker images --quiet thebes-host)" ] && return
  local root=$CACHE/root context=$CACHE/context
  rm -rf "$root" "$context"
  mkdir -p "$context"
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -1)
  debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "${mirror:?no apt source of bookworm}" >"$CACHE/debootstrap.log"
  copy_apt_settings "$root"
  tar -C "$root" -c . | /usr/bin/docker import - thebes-base >"$CACHE/import.log"
  cp tests/host/Dockerfile "$context/"
  /usr/bin/docker build --quiet --network host --tag thebes-host "$context"
  rm -rf "$root"
}
