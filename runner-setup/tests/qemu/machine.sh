#!/bin/bash
# Usage: machine.sh COMMAND … — runs it beside a whole virtual machine (own kernel, pure cgroup v2, all capabilities,
# SSH, an orderly restart) and a fake GitHub. Where there is no KVM it is emulated in software, which is slow.
# ARCHITECTURE=arm64 is another processor than x86-64 (amd64), emulated on the latter; SUITE is another system than
# Debian 12: noble (Ubuntu 24.04) shows its kernel's rule of user namespaces.
# $HOST_SHELL is a root shell there that reads commands, $MACHINE_SSH runs one, $MACHINE its variables for Ansible.
set -euo pipefail
cd "$(dirname "$0")/../.."
ARCHITECTURE=${ARCHITECTURE:-amd64}
export SUITE=${SUITE:-bookworm}
export VENV=$PWD/.venv CACHE=${CACHE:-$PWD/.cache/qemu-$SUITE-$ARCHITECTURE} GATEWAY=127.0.0.1
mkdir -p "$CACHE"
# shellcheck source=../host/engine.sh
. tests/host/engine.sh
# shellcheck source=../host/github.sh
. tests/host/github.sh
export GATEWAY=127.0.0.1
unset DOCKER_HOST
[ "$(id -u)" -eq 0 ] || { echo "test-long needs root, to make a disk image from packages" >&2; exit 1; }
case $ARCHITECTURE in
  amd64) emulator=(qemu-system-x86_64 -M q35 -cpu max) package=qemu-system-x86 console=ttyS0 ;;
  arm64) emulator=(qemu-system-aarch64 -M virt -cpu cortex-a72) package=qemu-system-arm console=ttyAMA0 ;;
  *) echo "ARCHITECTURE is '$ARCHITECTURE', expected amd64 or arm64" >&2 && exit 2 ;;
esac
case $SUITE in
  jammy | noble) kernel=linux-image-virtual,initramfs-tools,apparmor ;;
  *) kernel=linux-image-$ARCHITECTURE ;;
esac
install_packages $package mmdebstrap e2fsprogs openssh-client openssl

stop() {
  local code=$?
  set +e # what was killed ends with a status of its own
  for process in "${VM:-}" "${FAKE:-}"; do
    [ -n "$process" ] && kill "$process" && wait "$process"
  done
  exit $code
}
trap stop EXIT

# To install a system of another processor, its programs must run here.
run_foreign_programs() {
  [ "$ARCHITECTURE" != "$(dpkg --print-architecture)" ] || return 0
  install_packages qemu-user-static binfmt-support arch-test
  [ -e /proc/sys/fs/binfmt_misc/status ] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
  update-binfmts --enable
}

build_disk() {
  local root=$CACHE/root
  run_foreign_programs
  rm -rf "$root" "$CACHE"/id*
  ssh-keygen -q -t ed25519 -N '' -f "$CACHE/id"
  make_system "$root" "$kernel,apt,systemd-sysv,libpam-systemd,dbus,openssh-server,python3,python3-apt,ca-certificates,udev,iproute2,procps,cron,sudo,systemd-timesyncd,python3-venv" \
    --architectures="$ARCHITECTURE"
  mkdir -p "$root/root/.ssh"
  cp "$CACHE/id.pub" "$root/root/.ssh/authorized_keys"
  chmod -R go= "$root/root/.ssh"
  printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n' >"$root/etc/systemd/network/eth0.network"
  ln -sf /lib/systemd/system/systemd-networkd.service "$root/etc/systemd/system/multi-user.target.wants/"
  echo 'nameserver 10.0.2.3' >"$root/etc/resolv.conf"
  echo thebes-vm >"$root/etc/hostname"
  # 10.0.2.2 is this machine's loopback, where the fake GitHub listens.
  printf '127.0.0.1 localhost thebes-vm\n10.0.2.2 github.test\n' >"$root/etc/hosts"
  echo 'LABEL=root / ext4 defaults 0 1' >"$root/etc/fstab"
  # The machine is started with the first one, given from outside; to make others takes emulation ten minutes.
  echo 'update_initramfs=no' >"$root/etc/initramfs-tools/update-initramfs.conf"
  cp "$root"/boot/vmlinuz-*[0-9]* "$CACHE/vmlinuz"
  cp "$root"/boot/initrd.img-*[0-9]* "$CACHE/initrd"
  rm -f "$CACHE/disk.img"
  truncate --size=12G "$CACHE/disk.img"
  mkfs.ext4 -q -L root -d "$root" "$CACHE/disk.img"
  rm -rf "$root"
}

# Bare at each start: what it writes is forgotten.
start_machine() {
  local accelerator=tcg,thread=multi
  # A processor that does not show the extension has a /dev/kvm in which this kernel may not start.
  [ "$ARCHITECTURE" = "$(dpkg --print-architecture)" ] && grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo &&
    [ -w /dev/kvm ] && accelerator=kvm
  "${emulator[@]}" -accel $accelerator -smp 2 -m 3072 -nographic \
    -kernel "$CACHE/vmlinuz" -initrd "$CACHE/initrd" -append "root=LABEL=root rw console=$console net.ifnames=0" \
    -drive file="$CACHE/disk.img",format=raw,if=virtio,cache=unsafe,snapshot=on \
    -netdev user,id=n0,hostfwd=tcp:127.0.0.1:2222-:22 -device virtio-net-pci,netdev=n0 </dev/null >"$CACHE/console.log" 2>&1 &
  VM=$!
}

SSH=(-i "$CACHE/id" -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=60) # an emulated processor
reachable() {
  for _ in $(seq 120); do
    ssh "${SSH[@]}" root@127.0.0.1 true 2>/dev/null && return
    kill -0 "$VM" || break
    sleep 2
  done
  tail -20 "$CACHE/console.log" >&2
  echo "the virtual machine did not answer; its console is in $CACHE/console.log" >&2
  exit 1
}

[ -f "$CACHE/disk.img" ] && [ -f "$CACHE/id" ] || build_disk
start_fake_github
SECONDS=0
start_machine
reachable
echo "booted in $SECONDS s"

# Variables of the machine, beside what a newcomer's inventory has: how to reach it, and GitHub's stand-in.
export MACHINE=$CACHE/machine.yml
cat >"$MACHINE" <<YAML
ansible_port: 2222
ansible_ssh_private_key_file: $CACHE/id
ansible_ssh_common_args: -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null
base_ca_certificates: [$FILES/ca.crt]
runner_url: https://github.test:8443
runner_group: builders
runner_mirror: https://github.test:8443/_files
runner_sha256: {x64: $RUNNER_SHA256, arm64: $RUNNER_SHA256}
runner_name_prefix: thebes-host-
runner_memory_max: 1G
runner_cpu_quota: 100%
runner_disk_min_mib: 64
watchdog_interval_seconds: 1
docker_start_seconds: 180
observability_node_exporter: false
preflight_disk_min_mib: 1024
preflight_memory_min_mib: 1024
YAML
export RUNNER_APP_KEY_FILE=$FILES/app.pem PATH=$VENV/bin:$PATH
export MACHINE_SSH="ssh ${SSH[*]} root@127.0.0.1"
export HOST_SHELL="$MACHINE_SSH bash -s"
"$@"
