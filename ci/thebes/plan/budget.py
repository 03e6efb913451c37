"""How many shards each suite gets where all together would be too many jobs: a matrix of GitHub has 256. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from thebes.errors import InputError


class Want(NamedTuple):
    """A suite of `seconds` that would have `shards`, once for each of `copies` Pythons and service versions."""

    seconds: float
    shards: int
    copies: int


def share_out(wants: Sequence[Want], most: int) -> list[int]:
    """Shards of each suite, at least one and at most those wanted, `most` jobs in all. The next one always goes to
    the suite whose shards are the longest. InputError if one for each is too many."""
    if sum(want.shards * want.copies for want in wants) <= most:
        return [want.shards for want in wants]
    given = [1] * len(wants)
    left = most - sum(want.copies for want in wants)
    if left < 0:
        raise InputError(f"tool.thebes.max-tasks: it leaves {most} shards to {most - left} suites, one each at least")
    hungry = set(range(len(wants)))
    while hungry:
        suite = min(hungry, key=lambda suite: (-wants[suite].seconds / given[suite], suite))
        if given[suite] >= wants[suite].shards or wants[suite].copies > left:
            hungry.remove(suite)
            continue
        given[suite] += 1
        left -= wants[suite].copies
    return given
