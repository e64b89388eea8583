"""What only the Redis store can do wrong: what it writes and sends, what others wrote there, secrets, news."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager

import pytest

from cacheapp.state.published import StoredIndex, StoredState
from cacheapp.state.snapshot import mapping_hash
from cacheapp.stores.protocol import Lease, Store
from cacheapp.stores.redis import link
from cacheapp.stores.redis.link import PREFIX
from cacheapp.stores.redis.state import MAX_PIECE_BYTES, MAX_PUBLISHED_BYTES
from cacheapp.stores.redis.store import PIECES, PUBLISHED, RedisStore, open_redis_store
from dev.faults.tcp_proxy import TcpProxy
from dev.ports import HOST
from dev.servers.redis import RedisServer
from esassistant.clock import monotonic
from esassistant.errors import StaleToken, StoreUnavailable
from esassistant.shared_values import MAX_VALUE_BYTES
from tests.support.fixtures import Figure
from tests.support.states import A_MAPPING, B_MAPPING, FIRST, LONG, A, B, load, state, take
from tests.support.stores import PATIENT

PASSWORD = "pa:ss/word-of-redis"


@pytest.fixture
async def redis_store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    async with open_redis_store(redis_server.url, timeouts=PATIENT) as store:
        yield store


@asynccontextmanager
async def counted(server: RedisServer) -> AsyncIterator[tuple[RedisStore, TcpProxy]]:
    """A store with a proxy between it and Redis that counts bytes."""
    with TcpProxy(HOST, server.port) as proxy:
        async with open_redis_store(f"redis://{HOST}:{proxy.port}/0", timeouts=PATIENT) as store:
            yield store, proxy


def ten_thousand(changed: bytes = A_MAPPING) -> StoredState:
    """As `to_publish` makes it of a cluster with rolled-over indices, the mapping of one of them given."""
    indices = {f"logs-{number:06}": StoredIndex(f"uuid-{number:017}", A) for number in range(10_000)}
    indices["logs-000042"] = StoredIndex("uuid", mapping_hash(changed))
    return state(indices, A_MAPPING, changed)


def test_it_is_a_store(redis_server: RedisServer) -> None:
    """The class has the protocol's methods, and shows where Redis is."""
    store: Store = RedisStore(link.RedisLink(redis_server.url, monotonic))
    assert repr(store) == f"<RedisStore 127.0.0.1:{redis_server.port}>"


async def test_opening_needs_no_redis() -> None:
    """A store opens and closes where no Redis is, and does no I/O until it is used."""
    async with open_redis_store("redis://127.0.0.1:9/0"):
        pass
    async with open_redis_store("unix:///nowhere/redis.sock") as store:
        with pytest.raises(StoreUnavailable) as caught:
            await store.generation()
    assert caught.value.operator_detail == "Redis at /nowhere/redis.sock could not be reached."
    assert "/nowhere" not in caught.value.detail


async def test_keys(redis_server: RedisServer, redis_store: RedisStore) -> None:
    """Every key begins with the name and the version of the layout."""
    await redis_store.publish(FIRST, await take(redis_store))
    await redis_store.attempt("refresh", LONG)
    await redis_store.report("one", b"{}", LONG)
    names = {name.decode().removeprefix(PREFIX) for name in redis_server.command("KEYS", "*")}
    assert names == {"published", "pieces", "lease:refresh", "attempt:refresh", "reports", "reporting"}


async def test_only_changes_travel(redis_server: RedisServer) -> None:
    """Of 10 000 indices, one change is sent and loaded as a few kilobytes, and no change as less."""
    changed = ten_thousand(B_MAPPING)
    async with (
        counted(redis_server) as (store, proxy),
        open_redis_store(redis_server.url, timeouts=PATIENT) as publisher,
    ):
        lease = await take(publisher)
        await publisher.publish(ten_thousand(), lease)
        whole = proxy.bytes_forwarded
        assert (await load(store)).state.indices == ten_thousand().indices
        whole = proxy.bytes_forwarded - whole
        assert whole > 500_000

        before = proxy.bytes_forwarded
        await store.publish(changed, lease)
        assert proxy.bytes_forwarded - before < 35_000
        before = proxy.bytes_forwarded
        await store.publish(changed, lease)
        assert proxy.bytes_forwarded - before < 12_000

        before = proxy.bytes_forwarded
        loaded = await load(store, A)
        assert proxy.bytes_forwarded - before < 30_000
        assert loaded.state.indices == changed.indices
        assert loaded.state.bodies == {B: B_MAPPING}


async def test_what_changed_before_does_not_travel_again(redis_server: RedisServer) -> None:
    """However many indices have changed since the last pass, each confirmed at a moment of its own: one more costs what
    the first did, also for who publishes what another has published.
    """
    changed_at = {f"logs-{100 * number:06}": monotonic() for number in range(60)}

    def now() -> StoredState:
        ages = {name: StoredIndex("uuid", B, monotonic() - at) for name, at in changed_at.items()}
        return state({**ten_thousand().indices, **ages}, A_MAPPING, B_MAPPING)

    async with counted(redis_server) as (store, proxy), counted(redis_server) as (other, others):
        await store.publish(now(), await take(store))
        await load(other)
        for publisher, travelled in ((store, proxy), (other, others)):
            changed_at[f"logs-{len(changed_at):06}"] = monotonic()
            before = travelled.bytes_forwarded
            await publisher.publish(now(), await take(store))
            assert travelled.bytes_forwarded - before < 35_000
            await load(other)


async def test_unused_pieces_are_dropped(redis_server: RedisServer, redis_store: RedisStore) -> None:
    """After any number of publications, Redis holds the pieces of the last one."""
    lease = await take(redis_store)
    for number in range(5):
        body = b'{"n":%d}' % number
        await redis_store.publish(state({"a": StoredIndex("u", mapping_hash(body))}, body), lease)
    assert redis_server.command("HLEN", PIECES) == 2


async def test_lost_data(redis_server: RedisServer, redis_store: RedisStore) -> None:
    """When Redis lost all its data, there is nothing; generations and tokens go on above those of before."""
    lease = await take(redis_store)
    generation = await redis_store.publish(FIRST, lease)
    redis_server.empty()
    assert await redis_store.generation() == 0
    assert await redis_store.load(()) is None
    with pytest.raises(StaleToken):
        await redis_store.publish(FIRST, lease)
    await asyncio.sleep(0.005)
    newer = await take(redis_store, "two")
    assert newer.token > lease.token
    assert await redis_store.publish(FIRST, newer) > generation
    with pytest.raises(StaleToken):
        await redis_store.publish(FIRST, lease)


async def test_shorter_lease_asked_for(redis_store: RedisStore) -> None:
    """Who asks for a shorter lease than the holder has is refused like everybody."""
    await take(redis_store, "one", LONG)
    wait = await redis_store.lease("refresh", "two", 1.0)
    assert isinstance(wait, float)
    assert wait > 50


async def test_clock_set_back(redis_server: RedisServer, redis_store: RedisStore) -> None:
    """A lease and an attempt from the future, as after the server's clock was set back, hold nobody up; an age is at
    least nothing.
    """
    lease = await take(redis_store)
    await redis_store.publish(state({"a": StoredIndex("u", A, -1e6)}, A_MAPPING, age=-1e6), lease)
    redis_server.command("HSET", f"{PREFIX}lease:refresh", "expires", "4000000000000000")
    await redis_store.attempt("refresh", LONG)
    redis_server.command("SET", f"{PREFIX}attempt:refresh", "4000000000000000")
    assert (await take(redis_store, "two")).token == lease.token + 1
    assert await redis_store.attempt("refresh", LONG) == 0.0
    loaded = (await load(redis_store)).state
    assert (loaded.age_seconds, loaded.indices["a"].age_seconds) == (0.0, 0.0)


DOCUMENT = '{"generation":7,"confirmed_at":0,"cluster_uuid":"","cluster_urls":"","chunks":[CHUNKS]}'
FOREIGN_VALUES: dict[str, tuple[bytes | str | int, ...]] = {
    "text": ("SET", PUBLISHED, "hello"),
    "bytes": ("SET", PUBLISHED, b"\x80\x04\x95"),
    "other document": ("SET", PUBLISHED, '{"generation":7}'),
    "wrong types": (
        *("SET", PUBLISHED),
        DOCUMENT.replace("CHUNKS", "7"),
    ),
    "too many chunks": (
        *("SET", PUBLISHED),
        DOCUMENT.replace("CHUNKS", ",".join(f'"{number:032}"' for number in range(65))),
    ),
    "oversized": ("SET", PUBLISHED, b" " * MAX_PUBLISHED_BYTES + b"{}"),
    "other type": ("RPUSH", PUBLISHED, "hello"),
}


@pytest.mark.parametrize("command", FOREIGN_VALUES.values(), ids=FOREIGN_VALUES)
async def test_foreign_published(
    redis_server: RedisServer, redis_store: RedisStore, command: tuple[bytes | str | int, ...]
) -> None:
    """What is none of ours where the published state should be counts as nothing; the next publication replaces it."""
    redis_server.command(*command)
    assert await redis_store.generation() == 0
    assert redis_store.link.poisoned_total == 1
    assert await redis_store.load(()) is None
    await redis_store.publish(FIRST, await take(redis_store))
    assert (await load(redis_store)).state.indices == FIRST.indices


async def test_foreign_types(redis_server: RedisServer, redis_store: RedisStore) -> None:
    """Keys that hold other types than ours stop no operation for good, and are counted."""
    for key in (PIECES, f"{PREFIX}lease:refresh"):
        redis_server.command("SET", key, "hello")
    redis_server.command("RPUSH", f"{PREFIX}attempt:refresh", "hello")
    with pytest.raises(StaleToken):
        await redis_store.publish(FIRST, Lease("refresh", 1, LONG))
    await redis_store.publish(FIRST, await take(redis_store))
    assert await redis_store.attempt("refresh", LONG) == 0.0
    assert redis_store.link.poisoned_total == 3
    assert (await load(redis_store)).state.bodies == FIRST.bodies
    redis_server.command("DEL", f"{PREFIX}lease:refresh")
    redis_server.command("HSET", f"{PREFIX}lease:refresh", "token", "x", "holder", "y", "expires", "z")
    await take(redis_store)
    redis_server.command("SET", f"{PREFIX}attempt:refresh", "x" * 1000)
    assert await redis_store.attempt("refresh", LONG) == 0.0


@pytest.mark.parametrize("poison", [b"hello", b"", b" " * (MAX_PIECE_BYTES + 1)], ids=["other", "empty", "oversized"])
async def test_poisoned_body(
    redis_server: RedisServer, redis_store: RedisStore, poison: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Case 25: a body that doesn't have the hash it is kept under is ignored, counted, and replaced by the next
    publication.
    """
    lease = await take(redis_store)
    await redis_store.publish(FIRST, lease)
    redis_server.command("HSET", PIECES, A, poison)
    loaded = await load(redis_store)
    assert loaded.state.bodies == {B: B_MAPPING}
    assert loaded.state.indices == FIRST.indices
    assert redis_store.link.poisoned_total == 1
    assert "is not what this store writes" in caplog.text
    await redis_store.publish(FIRST, lease)
    assert (await load(redis_store)).state.bodies == FIRST.bodies


@pytest.mark.parametrize("poison", [b"hello", b'{"indices":{"a":[1,2]}}', None], ids=["text", "document", "lost"])
async def test_damaged_chunk(redis_server: RedisServer, redis_store: RedisStore, poison: bytes | None) -> None:
    """A state that lacks a part of its indices isn't taken for the whole; the next publication mends it."""
    async with open_redis_store(redis_server.url, timeouts=PATIENT) as publisher:  # which knows what it published
        lease = await take(publisher)
        await publisher.publish(FIRST, lease)
    for name in redis_server.command("HKEYS", PIECES):
        if name.decode() not in FIRST.bodies:
            redis_server.command(*(("HDEL", PIECES, name) if poison is None else ("HSET", PIECES, name, poison)))
    with pytest.raises(StoreUnavailable, match="damaged"):
        await redis_store.load(())
    await redis_store.publish(FIRST, lease)
    assert (await load(redis_store)).state.indices == FIRST.indices


async def test_forged_chunk(redis_server: RedisServer, redis_store: RedisStore) -> None:
    """A chunk that has its hash but not our form is damage too."""
    await redis_store.publish(FIRST, await take(redis_store))
    forged = b'{"indices":{"a":["u","short",null,null]},"aliases":{},"data_streams":[]}'
    redis_server.command("HSET", PIECES, mapping_hash(forged), forged)
    redis_server.command("SET", PUBLISHED, DOCUMENT.replace("CHUNKS", f'"{mapping_hash(forged)}"'))
    with pytest.raises(StoreUnavailable, match="damaged"):
        await redis_store.load(())
    assert redis_store.link.poisoned_total == 1


async def test_body_that_is_too_large(redis_store: RedisStore) -> None:
    """A body above the limit isn't shared: others read it from the cluster; the rest is."""
    large = b"x" * (MAX_PIECE_BYTES + 1)
    indices = {"a": StoredIndex("u", A), "large": StoredIndex("u", mapping_hash(large))}
    await redis_store.publish(state(indices, A_MAPPING, large), await take(redis_store))
    loaded = await load(redis_store)
    assert loaded.state.indices == indices
    assert loaded.state.bodies == {A: A_MAPPING}


async def test_full_redis() -> None:
    """A Redis without memory is said to be that, and answers other calls meanwhile: it is not taken for absent."""
    with RedisServer(config=("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")) as server:
        async with open_redis_store(server.url, timeouts=PATIENT) as store:
            lease = await take(store)
            body = b"x" * 4_000_000
            many = state({"a": StoredIndex("u", mapping_hash(body))}, body)
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match=r"OutOfMemory|OOM"):
                    await store.publish(many, lease)
            assert await store.generation() == 0


async def test_case_27_passwords_stay_secret(caplog: pytest.LogCaptureFixture, figure: Figure) -> None:
    """Case 27: neither errors, nor logs, nor `repr` have the password in them; the right one opens."""
    caplog.set_level(logging.DEBUG)
    with RedisServer(password="right-password") as server:
        async with open_redis_store(server.url, timeouts=PATIENT) as store:
            assert await store.generation() == 0
        url = f"redis://:pa%3Ass%2Fword-of-redis@{HOST}:{server.port}/0"
        async with open_redis_store(url, timeouts=PATIENT) as store:
            with pytest.raises(StoreUnavailable, match="refused the credentials") as caught:
                await store.generation()
            shown = [str(caught.value), repr(caught.value), repr(store), repr(store.link), repr(store.link._client)]
    for text in (*shown, caplog.text):
        assert PASSWORD not in text
        assert "right-password" not in text
    assert caught.value.__suppress_context__
    figure(27, f"{len(shown)} texts of Redis' client and its log, 0 hits")


@pytest.mark.parametrize(
    "url",
    [
        *("", "http://user:secret-word@host", "redis://:secret/word@host", "redis://:secret-word@host/0?db=x"),
        *("redis://:secret-word@host/0?frobnicate=1", "redis://:secret-word@host:99999999999"),
    ],
)
async def test_bad_url(url: str) -> None:
    """A URL that is none of Redis is refused in words that don't quote it."""
    with pytest.raises(ValueError, match="use a URL such as") as caught:
        async with open_redis_store(url, timeouts=PATIENT):
            pass
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_url_does_not_weaken() -> None:
    """What a URL says of timeouts, decoding and retries doesn't win over what the store relies on."""
    made = link.RedisLink(
        "redis://h/0?socket_timeout=60&socket_connect_timeout=60&decode_responses=true&max_connections=1000"
        "&retry_on_timeout=true&health_check_interval=1&timeout=90&protocol=3",
        monotonic,
    )
    connection = made._pool.make_connection()  # type: ignore[no-untyped-call]
    assert {connection.socket_timeout, connection.socket_connect_timeout} == {link.TIMEOUTS.socket}
    assert (made._pool.max_connections, made._pool.timeout) == (link.MAX_CONNECTIONS, link.TIMEOUTS.socket)
    assert not connection.encoder.decode_responses
    assert connection.retry.get_retries() == 0


async def test_deadline(redis_server: RedisServer) -> None:
    """A Redis that answers each step, but slowly, costs the deadline and no more."""
    async with open_redis_store(redis_server.url, timeouts=PATIENT, deadline_seconds=0.0) as store:
        lease = await take(store)
        with pytest.raises(StoreUnavailable, match="too slow"):
            await store.publish(FIRST, lease)
        with pytest.raises(StoreUnavailable, match="too slow"):
            await store.load(())


async def test_endless_publishers(monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer) -> None:
    """Where others publish between any two steps, that ends in an error rather than never."""
    async with (
        open_redis_store(redis_server.url, timeouts=PATIENT, tries=3) as store,
        open_redis_store(redis_server.url, timeouts=PATIENT) as other,
    ):
        lease = await take(other)
        published = await other.publish(FIRST, lease)
        fetch, send = store._fetch, store._send

        async def publish_other() -> None:
            nonlocal published
            body = b"%d" % published
            published = await other.publish(state({"a": StoredIndex("u", mapping_hash(body))}, body), lease)

        async def fetch_late(hashes: Iterable[str]) -> dict[str, bytes]:
            await publish_other()
            return await fetch(hashes)

        async def send_late(pieces: Mapping[str, bytes], present: Collection[str]) -> None:
            await send(pieces, present)
            await publish_other()

        monkeypatch.setattr(store, "_fetch", fetch_late)
        monkeypatch.setattr(store, "_send", send_late)
        with pytest.raises(StoreUnavailable, match="faster than"):
            await store.load(())
        with pytest.raises(StoreUnavailable, match="Other instances"):
            await store.publish(FIRST, lease)
        assert await store.generation() == published


async def test_a_value_that_others_change_all_the_time(redis_store: RedisStore, redis_server: RedisServer) -> None:
    """A change gives up in the end, and has changed nothing."""
    calls = 0

    def change(_: Mapping[str, bytes], __: int) -> tuple[dict[str, bytes], None]:
        nonlocal calls
        calls += 1
        redis_server.command("SET", f"{PREFIX}value:one", f"theirs {calls}")
        return {"one": b"ours"}, None

    with pytest.raises(StoreUnavailable, match="all the time"):
        await redis_store.change(["one"], change, LONG)
    assert redis_server.command("GET", f"{PREFIX}value:one") == f"theirs {calls}".encode()


async def test_a_value_is_forgotten(redis_store: RedisStore, redis_server: RedisServer) -> None:
    """Redis has no more of it so long after the last change; what is too long for a value is as good as none."""
    await redis_store.change(["one"], lambda *_: ({"one": b"1"}, None), 60.0)
    assert 1000 < redis_server.command("PTTL", f"{PREFIX}value:one") <= 60_000
    redis_server.command("SET", f"{PREFIX}value:one", b"x" * (MAX_VALUE_BYTES + 1))
    redis_server.command("RPUSH", f"{PREFIX}value:two", b"another type")
    assert await redis_store.change(["one", "two"], lambda there, _: ({}, dict(there)), 60.0) == {}
    await redis_store.change(["one", "two"], lambda *_: ({"one": b"1", "two": b"2"}, None), 60.0)
    assert await redis_store.change(["one", "two"], lambda there, _: ({}, dict(there)), 60.0) == {
        "one": b"1",
        "two": b"2",
    }
