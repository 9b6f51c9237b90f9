"""The data sources that our boards read, as Grafana's API takes them."""

from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from submeter.dashboards.grafana import Json
from submeter.dashboards.targets import POSTGRES, PROMETHEUS
from submeter.errors import UsageError

SSL_MODES = ("disable", "require", "verify-ca", "verify-full")
"""Those of libpq's that Grafana knows."""


@dataclass(frozen=True, slots=True)
class Source:
    uid: str
    body: Json
    """Without secrets, which nobody can read back and compare."""
    secrets: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        return str(self.body["name"])


def prometheus_source(url: str) -> Source:
    """``url`` as Grafana reaches it, which is not always as we do."""
    parts = _split("--prometheus-url", url, ("http", "https"), "http://prometheus:9090")
    if parts.password is not None or parts.username is not None:
        raise UsageError("--prometheus-url: no credential in the URL, please: add it to the data source in Grafana")
    body: Json = {
        "name": "Submeter metrics",
        "type": PROMETHEUS.type_val,
        "access": "proxy",
        "url": url,
        "jsonData": {"httpMethod": "POST"},
    }
    return Source("submeter-prometheus", body)


def postgres_source(url: str, password: str) -> Source:
    """``postgresql://USER@HOST[:5432]/DATABASE[?sslmode=…]``, as Grafana reaches it, and the user's password."""
    form = "postgresql://grafana@db.example.com:5432/submeter?sslmode=require"
    parts = _split("--postgres-url", url, ("postgresql", "postgres"), form)
    if parts.password is not None:
        raise UsageError("--postgres-url: no password in the URL, please: set GRAFANA_POSTGRES_PASSWORD to it")
    database = unquote(parts.path.strip("/"))
    if not parts.username or not database or "/" in database:
        raise UsageError(f"--postgres-url: it must name a user and a database, as {form}")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    body: Json = {
        "name": "Submeter ledger",
        "type": POSTGRES.type_val,
        "access": "proxy",
        "url": f"{host}:{parts.port or 5432}",
        "user": unquote(parts.username),
        "jsonData": {"database": database, "sslmode": _ssl_mode(parts)},
    }
    return Source("submeter-postgres", body, {"password": password} if password else {})


def _ssl_mode(parts: SplitResult) -> str:
    asked = parse_qs(parts.query)
    mode = asked.pop("sslmode", ["require"])[-1]
    if asked or mode not in SSL_MODES:
        raise UsageError(f"--postgres-url: only sslmode may follow the ?, and be one of {', '.join(SSL_MODES)}")
    return mode


def _split(option: str, url: str, schemes: tuple[str, ...], form: str) -> SplitResult:
    """Never shows the URL: it may hold a password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise UsageError(f"{option}: this is no URL; expected one such as {form}") from None
    if parts.scheme not in schemes or not parts.hostname:
        raise UsageError(f"{option}: expected a URL such as {form}")
    return parts
