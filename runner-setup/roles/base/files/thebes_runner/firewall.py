"""Keeps jobs and their containers away from addresses such as the cloud's metadata service.

The rules go by user id: rootless containers reach the network through a process of the instance's
user, so one rule holds for a job's processes and for its containers. Rootful containers are
forwarded by the kernel, hence the second chain.
"""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Iterable, Sequence

from thebes_runner.errors import HostError

TABLE = "thebes_runner"


def ruleset(uids: Iterable[range], addresses: Sequence[str]) -> str:
    """An nftables script that replaces our own table and touches no other."""
    owners = ", ".join(f"{r.start}-{r.stop - 1}" if len(r) > 1 else str(r.start) for r in uids)
    output, forward = [], []
    for address in addresses:
        network = ipaddress.ip_network(address)
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


def apply(script: str) -> None:
    done = subprocess.run(["nft", "-f", "-"], input=script, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise HostError(f"nft refuses the rules: {done.stderr.strip().splitlines()[:1]}")


def remove() -> None:
    apply(f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n")
