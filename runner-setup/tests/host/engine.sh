# Sourced by the targets that need containers: a Docker engine of our own, and an image of a
# Debian host made from packages. Nothing here touches another engine on this machine.
set -euo pipefail

CACHE=${CACHE:?folder for the engine and the image}
# What the host runs: bookworm or trixie (Debian 12, 13), jammy or noble (Ubuntu 22.04, 24.04).
SUITE=${SUITE:-bookworm}
UBUNTU_MIRROR=${UBUNTU_MIRROR:-http://archive.ubuntu.com/ubuntu}
# A second run at the same time needs a bridge and a network of its own.
BRIDGE=${BRIDGE:-thebes0}
export GATEWAY=${GATEWAY:-10.213.0.1}
export DOCKER_HOST=unix://$CACHE/docker.sock
# How the machine is reached; made with it (create.yml). The connections that are kept are named after the host, which
# has the same name in every run: so each run has a folder of its own for them.
export SSH_CONFIG=$CACHE/ssh_config ANSIBLE_SSH_CONTROL_PATH_DIR=/run/$BRIDGE

install_packages() {
  local missing=()
  for package in "$@"; do
    dpkg-query --show --showformat='${db:Status-Abbrev}' "$package" 2>&1 | grep -q '^ii' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive \
    apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >"$CACHE/apt.log"
}

start_engine() {
  [ "$(id -u)" -eq 0 ] || { echo "a Docker engine is started by root only" >&2; exit 1; }
  mkdir -p "$CACHE" "$ANSIBLE_SSH_CONTROL_PATH_DIR"
  install_packages docker.io iptables mmdebstrap iproute2 openssh-client openssl
  exec 9>"/run/lock/$BRIDGE.lock"
  flock --nonblock 9 || { echo "another run uses the bridge $BRIDGE: wait for it, or set BRIDGE and GATEWAY" >&2; exit 1; }
  stop_left_over
  ip link show $BRIDGE >/dev/null 2>&1 || ip link add $BRIDGE type bridge
  ip address replace $GATEWAY/24 dev $BRIDGE
  ip link set $BRIDGE up
  # Without the lock (9), so that an engine whose run was killed does not keep it.
  /usr/sbin/dockerd --bridge=$BRIDGE --insecure-registry="$GATEWAY:5000" --data-root="$CACHE/docker" --exec-root="$CACHE/exec" \
    --pidfile="$CACHE/docker.pid" --host="$DOCKER_HOST" >"$CACHE/dockerd.log" 2>&1 9>&- &
  ENGINE=$!
  trap stop_engine EXIT
  for _ in $(seq 100); do
    if /usr/bin/docker version >/dev/null 2>&1; then
      # What a run that was killed has left.
      [ -z "$(/usr/bin/docker ps --all --quiet --filter name=thebes-host)" ] || /usr/bin/docker rm --force --volumes thebes-host
      return
    fi
    kill -0 $ENGINE 2>/dev/null || break
    sleep 0.2
  done
  tail -5 "$CACHE/dockerd.log" >&2
  echo "dockerd did not start; its log is $CACHE/dockerd.log" >&2
  exit 1
}

# Leaves nothing behind: no machine, no processes, no bridge, no firewall rules of it.
stop_engine() {
  local code=$? table rule control
  set +e # what was killed ends with a status of its own
  for control in "$ANSIBLE_SSH_CONTROL_PATH_DIR"/*; do
    [ ! -S "$control" ] || ssh -o ControlPath="$control" -O exit thebes-host 2>/dev/null
  done
  rm -rf "$ANSIBLE_SSH_CONTROL_PATH_DIR"
  /usr/bin/docker rm --force --volumes thebes-host >/dev/null 2>&1
  for process in "${FAKE:-}" "${REGISTRY:-}" "$ENGINE"; do
    [ -n "$process" ] && kill "$process" && wait "$process"
  done
  umount "$CACHE"/exec/netns/* 2>/dev/null # left by containers of the host's network
  for table in filter nat; do
    iptables --table "$table" --list-rules | sed -n "s/^-A \(.*\(-[io] $BRIDGE \|-s ${GATEWAY%.*}.0\/24 \).*\)/--delete \1/p" |
      while read -r rule; do
        # shellcheck disable=SC2086
        iptables --table "$table" $rule
      done
  done
  ip link delete $BRIDGE
  exit $code
}

# An engine of ours whose run was killed before it could stop it.
stop_left_over() {
  local pid
  [ -f "$CACHE/docker.pid" ] || return 0
  pid=$(cat "$CACHE/docker.pid")
  if grep -qsz -- "--data-root=$CACHE/docker" "/proc/$pid/cmdline"; then
    kill "$pid"
    tail --pid="$pid" --follow /dev/null
  fi
}

# Ubuntu's keys, from its own package, as not every Debian has one.
ubuntu_keys() {
  local package=ubuntu-keyring_2023.11.28.1_all.deb
  [ -f "$CACHE/ubuntu.gpg" ] && return
  /usr/lib/apt/apt-helper download-file "$UBUNTU_MIRROR/pool/main/u/ubuntu-keyring/$package" "$CACHE/$package" \
    SHA256:36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8 >"$CACHE/apt.log"
  dpkg-deb --fsys-tarfile "$CACHE/$package" | tar --extract --to-stdout ./usr/share/keyrings/ubuntu-archive-keyring.gpg >"$CACHE/ubuntu.new"
  mv "$CACHE/ubuntu.new" "$CACHE/ubuntu.gpg"
}

# How the Debian or Ubuntu of $SUITE is made from packages: `make_system TARGET PACKAGE,… [OPTION …]`,
# with this machine's way to its mirror (proxies, certificates) and no setting that changes what is installed.
make_system() {
  local target=$1 include=$2 sources settings=() keys=() merged=(--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr)
  shift 2
  case $SUITE in
    bookworm | trixie)
      sources=("deb $(mirror_of Debian) $SUITE main")
      ;;
    jammy | noble)
      ubuntu_keys
      include+=,ubuntu-keyring
      keys=(--keyring="$CACHE/ubuntu.gpg")
      sources=("deb $UBUNTU_MIRROR $SUITE main universe" "deb $UBUNTU_MIRROR $SUITE-updates main universe")
      # Since 23.10 its packages bring the links of the merged /usr themselves; before, the hooks miss a package.
      merged=()
      # shellcheck disable=SC2016
      [ "$SUITE" = noble ] || merged=(--setup-hook='for of in bin sbin lib lib32 lib64 libx32; do
        mkdir -p "$1/usr/$of" && ln -s "usr/$of" "$1/$of"; done')
      ;;
    *)
      echo "SUITE is '$SUITE', expected bookworm, trixie, jammy or noble" >&2
      exit 2
      ;;
  esac
  mapfile -t settings < <(grep -lE '^ *Acquire::(https?|Check)' /etc/apt/apt.conf.d/* 2>/dev/null)
  mmdebstrap --variant=minbase "${merged[@]}" "${keys[@]}" --dpkgopt=force-unsafe-io \
    "${settings[@]/#/--aptopt=}" --include="$include" "$@" "$SUITE" "$target" "${sources[@]}" 2>"$CACHE/system.log" ||
    { tail -5 "$CACHE/system.log" >&2; return 1; }
}

# The mirror that this machine uses for a distribution, or else the distribution's own.
mirror_of() {
  local found
  found=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Origin: $1" "Label: $1" | head -1)
  echo "${found:-http://deb.debian.org/debian}"
}

# A host as a cloud provider would hand it out: systemd, SSH, Python, certificates, apt sources.
build_image() {
  local packages=apt,ca-certificates,systemd,systemd-sysv,dbus,openssh-server,sudo,python3,python3-apt,iproute2,procps,cron,at
  # One that is kept from an older version of this file has other packages.
  IMAGE=thebes-host:$SUITE-$(sha256sum <<<"$packages" | head -c 8)
  export IMAGE
  [ -n "$(/usr/bin/docker images --quiet "$IMAGE")" ] && return
  make_system "$CACHE/system.tar" $packages
  /usr/bin/docker import --change 'CMD ["/sbin/init"]' "$CACHE/system.tar" "$IMAGE" >"$CACHE/import.log"
  rm -f "$CACHE/system.tar"
}
