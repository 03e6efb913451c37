"""A move between back ends."""

from collections.abc import Iterable

from .model import Store, StoreError


def move(source: Store, target: Store, namespaces: Iterable[str] | None = None, *, most: int = 1_000_000) -> int:
    """Copy namespaces (all, if None) with ids, versions and times; returns how many. The source stays as it is.

    StoreError: what arrived is not what was sent.
    """
    moved = 0
    for namespace in namespaces if namespaces is not None else source.namespaces():
        sent = source.find(namespace, limit=most)
        target.restore(sent)
        arrived = target.get_many(namespace, [one.key for one in sent])
        lost = [one.key for one in sent if one.key not in arrived or arrived[one.key].id != one.id]
        if lost:
            raise StoreError(f"{namespace}: {len(lost)} memories did not arrive, the first is {lost[0]!r}")
        moved += len(sent)
    return moved
