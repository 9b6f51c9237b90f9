"""A cache that relays share through Valkey: what one keeps the others give, and no trouble of it reaches a caller."""

import socket
import threading
from pathlib import Path

from redis import Redis

from e2e.cache_calls import assert_never_hits, cached, call, question
from harness.processes import Provider, Unit, wait_for
from harness.shared_redis import sharing
from harness.valkey import Valkey
from submeter.store.cache.names import ANSWERS


def test_relays_share_what_they_keep(tmp_path: Path, fresh_provider: Provider, valkey: Valkey) -> None:
    with sharing(tmp_path, fresh_provider, valkey.url, relays=2) as unit:
        body = question(messages=[{"role": "user", "content": "CANARY-prompt"}])
        before = len(fresh_provider.invoice())
        first = call(unit, body, Authorization="Bearer sk-CANARY-key")
        with Redis(port=valkey.port) as server:
            (key,) = wait_for(lambda: server.keys(ANSWERS), "the answer to be kept")
            assert 0 < server.ttl(key) <= 86_400
            assert first.json()["id"].encode() not in server.get(key), "sealed"
            for each in server.scan_iter():
                assert server.ttl(each) != -1, "nothing stays for ever"
                assert b"CANARY" not in each + (server.dump(each) or b"")
        by_either_relay = range(20)
        answers = [call(unit, body, Authorization="Bearer sk-CANARY-key") for _ in by_either_relay]
        assert [cached(answer) for answer in answers] == ["hit"] * 20
        assert {answer.body for answer in answers} == {first.body}
        assert len(fresh_provider.invoice()) == before + 1
        assert sum(row["cache"] == "hit" for row in unit.rows()) == 20


def test_a_valkey_that_hangs_dies_or_is_absent_is_gone_around(
    tmp_path: Path, fresh_provider: Provider, valkey: Valkey
) -> None:
    with sharing(tmp_path, fresh_provider, valkey.url) as unit:
        body = question()
        assert [cached(call(unit, body)), cached(call(unit, question()))] == ["miss", "miss"]
        wait_for(lambda: cached(call(unit, body)) == "hit", "a hit")
        valkey.freeze()
        assert_never_hits(unit, body, said="bypass")
        assert_never_hits(unit, question(), said="bypass")
        valkey.thaw()
        others = question(messages=[{"role": "user", "content": "other"}])
        wait_for(lambda: cached(call(unit, body)) == "hit", "the cache to be asked again")
        answer = call(unit, others)
        assert cached(answer) == "miss"
        assert answer.json()["id"] != call(unit, body).json()["id"], "no answer is mixed up after a time-out"
        valkey.kill()
        assert_never_hits(unit, body, said="bypass")
        assert {row["outcome"] for row in unit.rows()} == {"ok"}


def test_hosts_with_one_secret_share_and_others_do_not(
    tmp_path: Path, fresh_provider: Provider, valkey: Valkey
) -> None:
    """Each host has a data directory of its own."""
    units, body = [], question()
    try:
        for name, secret in (("a", "s" * 32), ("b", "s" * 32), ("c", "t" * 32)):
            (tmp_path / name).mkdir()
            config = f"{{redis: '{valkey.url}', cache: {{key_env: CACHE_SECRET}}}}"
            units.append(Unit(tmp_path / name, fresh_provider, config=config, CACHE_SECRET=secret))
        assert cached(call(units[0], body)) == "miss"
        with Redis(port=valkey.port) as server:
            wait_for(lambda: server.keys(ANSWERS), "the answer to be kept")
        assert [cached(call(unit, body)) for unit in units] == ["hit", "hit", "miss"]
        a, b, c = ({row["key_id"] for row in unit.rows()} for unit in units)
        assert a == b != c, "one caller is the same tenant on the hosts that share"
    finally:
        for unit in units:
            unit.close()


def test_a_server_that_talks_nonsense_is_gone_around(tmp_path: Path, fresh_provider: Provider) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def babble() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=babble)
    thread.start()
    try:
        with sharing(tmp_path, fresh_provider, f"redis://127.0.0.1:{listener.getsockname()[1]}") as unit:
            assert_never_hits(unit, question(), said="bypass")
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
