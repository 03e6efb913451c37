"""Keeps jobs and their containers away from addresses such as the cloud's metadata service.

The rules go by user id: rootless containers reach the network through a process of the instance's
user, so one rule holds for a job's processes and for its containers. Rootful containers are
forwarded by the kernel, hence the second chain.
"""

from __future__ import annotations

import contextlib
import ipaddress
import subprocess
from collections.abc import Iterable, Sequence

from thebes_runner import processes, system
from thebes_runner.errors import HostError, SettingsError
from thebes_runner.settings import Runner
from thebes_runner.system import LOG

TABLE = "thebes_runner"
TIMEOUT_SECONDS = 60.0


def blocked(address: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """An address or a network, of which any address may be given, as preflight allows."""
    try:
        return ipaddress.ip_network(address, strict=False)
    except ValueError:
        raise SettingsError(
            f"runner_blocked_addresses has {address!r}, expected addresses or networks such as 169.254.0.0/16"
        ) from None


def ruleset(uids: Iterable[range], addresses: Sequence[str]) -> str:
    """An nftables script that replaces our own table and touches no other."""
    owners = ", ".join(f"{r.start}-{r.stop - 1}" if len(r) > 1 else str(r.start) for r in uids)
    output, forward = [], []
    for address in addresses:
        network = blocked(address)
        match = f"{'ip' if network.version == 4 else 'ip6'} daddr {network}"
        output.append(f"    meta skuid {{ {owners} }} {match} counter reject")
        forward.append(f"    {match} counter reject")
    return "\n".join(
        (
            f"table inet {TABLE} {{}}",
            f"delete table inet {TABLE}",
            f"table inet {TABLE} {{",
            "  chain output {",
            "    type filter hook output priority -10; policy accept;",
            *(output if owners else ()),
            "  }",
            "  chain forward {",
            "    type filter hook forward priority -10; policy accept;",
            *forward,
            "  }",
            "}",
            "",
        )
    )


def rules(runner: Runner) -> str:
    uids: list[range] = []
    for instance in runner.instances:
        with contextlib.suppress(SettingsError):  # one whose user is not made yet runs nothing
            uids += processes.owner_ranges(instance.uid, instance.user)
    return ruleset(uids, runner.blocked_addresses)


def ensure(runner: Runner) -> None:
    """Load the table if it is gone: a reload of nftables.service begins with `flush ruleset`."""
    if not runner.blocked_addresses:
        return
    try:
        system.run("nft", "list", "table", "inet", TABLE, timeout=TIMEOUT_SECONDS)
    except HostError:
        LOG.warning("the rules that block addresses were gone: loaded again")
        apply(rules(runner))


def apply(script: str) -> None:
    try:
        done = subprocess.run(
            ["nft", "-f", "-"],
            input=script,
            text=True,
            capture_output=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"the rules that block addresses can't be loaded: {error}") from None
    if done.returncode != 0:
        raise HostError(f"nft refuses the rules: {done.stderr.strip().splitlines()[:1]}")


def remove() -> None:
    apply(f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n")
