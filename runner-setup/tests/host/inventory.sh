#!/bin/bash
# Everything on a machine that the playbook could leave behind; compared before and after.
set -eu
getent passwd | cut -d: -f1
getent group | cut -d: -f1
cat /etc/subuid /etc/subgid
dpkg-query --show --showformat='package ${Package}\n'
find /etc/systemd /etc/thebes* /usr/local /srv /etc/default /etc/ssl/certs /var/lib/thebes* /var/log/thebes* \
  /var/lib/prometheus /run/thebes* /var/lib/systemd/linger -not -type d 2>/dev/null | sort
# What a power cut left in /var/tmp systemd clears at the next boot, by the boot's id; a container keeps its machine's.
find / -xdev \( -name '*thebes*' -o -name '*docker*' \) -not -path '/proc/*' -not -path '/root/*' -not -path '/sys/*' \
  -not -path '/var/tmp/systemd-private-*' \
  -not -path '/usr/share/*' -not -path '/var/cache/apt/*' -not -path '/var/lib/apt/*' -not -path /var/lib/docker -not -path '/.dockerenv' \
  -not -path '/usr/lib/python3/*' 2>/dev/null | sort
find /var/lib/docker /var/lib/containerd -mindepth 1 -maxdepth 1 # file systems of their own here
systemctl list-unit-files --plain --no-legend | cut -d' ' -f1,2 | grep -v '^session-' # of whoever is signed in
pgrep --list-name --uid "$(id -u)" 'thebes|dockerd|rootlesskit' || test $? -eq 1  # none is fine
