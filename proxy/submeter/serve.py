"""``submeter serve``: starts and watches the processes of one unit, {relays + one meter}, and nothing else; where
an upstream is translated, one translator besides.

It binds every port first, so that a port in use is an error and not a surprise, and holds the listening sockets for
as long as it lives: a relay that dies is started again on the same socket, and callers that connect meanwhile wait in
its queue. It never gives a process up. Settings go to the children through a pipe that stays open: its end tells them
that their parent has gone.
"""

import fcntl
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from submeter import __version__
from submeter.config import Secret, Settings, Upstream, behind_translator, to_json, translation_of
from submeter.config.nearest import known_or_nearest
from submeter.errors import UsageError

FAST_DEATH_S = 1.0
RESTART_PAUSE_S = 0.5
METER_STOP_S = 65.0
TRANSLATOR_STOP_S = 10.0
BACKLOG = 4096


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. Raises ``UsageError`` for what keeps it from starting; returns the exit code."""
    settings.require_servable()
    require_translator(settings)
    lock = claim_data_dir(settings.data_dir)
    sockets = bind_all(settings)
    unit = Unit(settings, sockets)
    _say(banner(settings))
    try:
        return unit.run()
    finally:
        for listener in (*sockets[0], sockets[1], *unit.own_sockets):
            listener.close()
        os.close(lock)


def require_translator(settings: Settings) -> None:
    """Translated upstreams need litellm, which is looked for and not imported. Raises ``UsageError``."""
    translated = [upstream for upstream in settings.upstreams.values() if upstream.translate is not None]
    if not translated:
        return
    found = find_spec("litellm")
    if found is None or not found.submodule_search_locations:
        raise UsageError(
            f"upstreams.{translated[0].name}.translate needs a part that is not installed: "
            "pip install 'submeter[translate]'"
        )
    known = {path.name for path in (Path(found.submodule_search_locations[0]) / "llms").iterdir() if path.is_dir()}
    for upstream in translated:
        place = f"upstreams.{upstream.name}.translate: litellm knows no such provider"
        known_or_nearest(str(upstream.translate), sorted(known), place)


def claim_data_dir(data_dir: Path) -> int:
    """Make the data directory, private, and lock it for this unit; the descriptor is the lock."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (data_dir / "journal").mkdir(mode=0o700, exist_ok=True)
        lock = os.open(data_dir / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as why:
        raise UsageError(
            f"the data directory {data_dir} cannot be written ({why.strerror}): make it writable, or give another one "
            "with --data-dir"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise UsageError(
            f"another `submeter serve` runs on {data_dir}: stop it, or give this one its own --data-dir"
        ) from None
    return lock


def bind_all(settings: Settings) -> tuple[list[socket.socket], socket.socket]:
    """(one listening socket per relay, the ops plane's)."""
    ops = bind(settings.ops_host, settings.ops_port, "--ops-port")
    try:
        first = bind(settings.host, settings.port, "--port")
        if settings.workers == 1:
            return [first], ops
        # Bound alone first, without SO_REUSEPORT: so a port in use is an error even if its user would share it.
        first.close()
        return [bind(settings.host, settings.port, "--port", shared=True) for _ in range(settings.workers)], ops
    except UsageError:
        ops.close()
        raise


def bind(host: str, port: int, flag: str, *, shared: bool = False) -> socket.socket:
    """A listening TCP socket. Raises ``UsageError`` that names the flag to change."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host.strip("[]"), port))
    except (OSError, UnicodeError) as why:
        listener.close()
        reason = why.strerror if isinstance(why, OSError) and why.strerror is not None else "no such address"
        raise UsageError(f"{host}:{port} cannot be bound ({reason}): free it, or choose another {flag}") from None
    listener.listen(BACKLOG)
    return listener


class Child:
    """One process that is started again whenever it ends."""

    def __init__(self, name: str, module: str, arguments: list[str], listener: socket.socket, settings: bytes) -> None:
        self.name = name
        self._command = [sys.executable, "-m", module, *arguments, "--fd", str(listener.fileno())]
        self._listener = listener
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self._started = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            self._command, stdin=subprocess.PIPE, pass_fds=(self._listener.fileno(),)
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died at once: the next look starts it again
            self._process.stdin.write(self._settings + b"\n")
            self._process.stdin.flush()

    def restart_if_dead(self) -> None:
        if self.alive or self._process is None:
            return
        _say(f"submeter: {self.name} ended ({_how(self._process.returncode)}); starting it again")
        self._close_pipe()
        if time.monotonic() - self._started < FAST_DEATH_S:
            time.sleep(RESTART_PAUSE_S)  # do not spin on what cannot start
        self.start()

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.alive:
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> None:
        """Until it has ended; it is killed when that takes too long."""
        if self._process is None:
            return
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            _say(f"submeter: {self.name} did not stop in {timeout_s:.0f} s and is killed; the journal keeps its calls")
            self._process.kill()
            self._process.wait()
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()


class Unit:
    """The relays and the meter of one host or pod, and a translator where an upstream needs it."""

    def __init__(self, settings: Settings, sockets: tuple[list[socket.socket], socket.socket]) -> None:
        self.own_sockets: list[socket.socket] = []
        self._translators: list[Child] = []
        settings = self._with_translator(settings)
        payload = to_json(settings)
        self._settings = settings
        self._relays = [
            Child(f"relay {index}", "submeter.relay", ["--index", str(index)], listener, payload)
            for index, listener in enumerate(sockets[0])
        ]
        self._meter = Child("the meter", "submeter.meter", [], sockets[1], payload)
        self._stop_signals = 0

    def _with_translator(self, settings: Settings) -> Settings:
        """The settings of relays and meter, to which the translator is one more upstream."""
        translation = translation_of(settings, Secret(secrets.token_urlsafe(32)))
        if translation is None:
            return settings
        listener = bind("127.0.0.1", 0, "port")
        self.own_sockets.append(listener)
        self._translators.append(Child("the translator", "submeter.translate", [], listener, to_json(translation)))
        return behind_translator(settings, translation, f"http://127.0.0.1:{listener.getsockname()[1]}")

    @property
    def _children(self) -> list[Child]:
        return [*self._relays, *self._translators, self._meter]

    def run(self) -> int:
        wake = _wake_on(signal.SIGCHLD, self._on_signal, signal.SIGTERM, signal.SIGINT)
        for child in self._children:
            child.start()
        while not self._stop_signals:
            select.select([wake], [], [], 1.0)
            _drain_pipe(wake)
            for child in self._children:
                if not self._stop_signals:
                    child.restart_if_dead()
        self._stop()
        return 0

    def _stop(self) -> None:
        """Relays first, which finish their calls; then the translator, and the meter, which ships what they wrote."""
        _say("submeter: stopping; calls in flight may finish")
        for relay in self._relays:
            relay.signal(signal.SIGTERM)
        for relay in self._relays:
            relay.wait(self._settings.limits.shutdown_s + 5.0)
        for translator in self._translators:
            translator.signal(signal.SIGTERM)
            translator.wait(TRANSLATOR_STOP_S)
        self._meter.signal(signal.SIGTERM)
        self._meter.wait(METER_STOP_S)
        _say("submeter: stopped")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop_signals += 1
        if self._stop_signals > 2:
            for child in self._children:
                child.signal(signal.SIGKILL)


def banner(settings: Settings) -> str:
    """What a person reads when it starts: where it is, where calls go, and the one line to set."""
    data = f"http://{_url_host(settings.host)}:{settings.port}"
    cache = "in Redis" if settings.redis is not None else "in memory"
    lines = [
        f"submeter {__version__}",
        f"  data plane  {data}/v1   ({settings.workers} relay{'s' if settings.workers > 1 else ''})",
        *(f"  upstream    {_upstream_line(upstream)}" for upstream in settings.upstreams.values()),
        f"  ops plane   http://{_url_host(settings.ops_host)}:{settings.ops_port}/   (page, /metrics, /api)",
        f"  data        {settings.data_dir}",
        f"  cache       temperature-0 and embeddings answers, {cache}; --no-cache switches it off"
        if settings.cache.enabled
        else "  cache       off",
        "",
        f"  export OPENAI_BASE_URL={data}/v1",
        "",
    ]
    return "\n".join(lines)


def _upstream_line(upstream: Upstream) -> str:
    if upstream.translate is None:
        return f"{upstream.name} -> {upstream.base_url}"
    return f"{upstream.name} -> {upstream.base_url or upstream.translate}   (translated for {upstream.translate})"


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _wake_on(quiet: signal.Signals, handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> int:
    """A descriptor that becomes readable on any of these signals; ``quiet`` has no handler beside that."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(quiet, lambda *_: None)
    for number in numbers:
        signal.signal(number, handler)
    return read


def _drain_pipe(descriptor: int) -> None:
    with suppress(BlockingIOError):
        while os.read(descriptor, 4096):
            pass


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
