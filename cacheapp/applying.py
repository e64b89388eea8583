"""How what a pass read becomes the next snapshot: pure, and in steps between which others may have a turn."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass

from cacheapp.pass_reader import Reading
from cacheapp.snapshot import IndexEntry, Snapshot, Source
from esassistant.long_work import TURN, batched


@dataclass(frozen=True, slots=True)
class PassChanges:
    """What applying a pass changed."""

    changed_total: int
    removed_total: int
    aliases_total: int = 0


def applied(
    before: Snapshot, reading: Reading, failed: Iterable[str]
) -> Generator[None, None, tuple[Snapshot, PassChanges]]:
    """The snapshot after a pass, and what that changed; `failed` could not be read and stay, as does what the pass left
    alone.

    What was confirmed while the pass ran is newer than the pass, and stays too.
    """
    listing, listed_at = reading.listing, reading.listed_at
    kept = {*failed, *reading.left_alone}
    kept.update(name for name, entry in before.indices.items() if entry.confirmed_at > listed_at)
    newer_aliases = {alias for alias, at in before.aliases_at.items() if at > listed_at}
    yield
    entries: dict[str, IndexEntry] = {}
    changed_total = 0
    for some in batched(reading.mappings.hashes.items(), TURN):
        for name, known in some:
            previous = before.indices.get(name)
            if name in kept or (previous is None and before.is_gone(name, listed_at)):
                continue
            entries[name] = IndexEntry(
                listing.uuids.get(name), known, listed_at, Source.ELASTICSEARCH, listing.field_counts.get(name)
            )
            changed_total += previous is None or previous.mapping_hash != known
        yield
    # A change pass that began later may have ended sooner: what there is, it knows better.
    is_latest = listed_at >= before.listed_at
    removed = [name for name in before.indices if name not in entries and name not in kept]
    yield
    after = before.changed(
        entries,
        reading.mappings.bodies,
        removed=removed,
        aliases={
            alias: members for alias, members in listing.aliases.items() if is_latest and alias not in newer_aliases
        },
        aliases_at=listed_at,
        removed_aliases=[
            alias
            for alias in before.aliases
            if is_latest and alias not in listing.aliases and alias not in newer_aliases
        ],
        data_streams=listing.data_streams if is_latest else None,
        cluster_uuid=listing.cluster_uuid,
        listed_at=listed_at if is_latest else None,
        listed=frozenset(listing.uuids) if is_latest else None,
    )
    yield
    aliases_total = sum(
        before.aliases.get(alias) != after.aliases.get(alias) for alias in before.aliases.keys() | after.aliases.keys()
    )
    return after, PassChanges(changed_total, len(removed), aliases_total)
