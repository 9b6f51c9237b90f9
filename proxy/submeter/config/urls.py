"""Addresses that an operator writes: what is wrong with one, said without showing it (it may hold a password)."""

from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, urlsplit


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener on ``host``. Names other than localhost do not count."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def without_password(url: str) -> str:
    """The URL with whatever stands before its ``@`` replaced, for showing to people."""
    scheme, separator, rest = url.partition("://")
    _, at, place = rest.rpartition("@")
    return f"{scheme}{separator}…@{place}" if at else url


def split_host_port(url: str) -> tuple[str, int]:
    """Host (without brackets) and port of a checked http(s) URL; the port is 443 or 80 unless it names one."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def problem_with_base_url(url: str) -> str | None:
    """Why ``url`` cannot be an upstream's base URL, and what to write instead; ``None`` when it can."""
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https"):
        return "expected a URL such as https://api.example.com/v1"
    if not parts.hostname:
        return "the URL names no host; expected one such as https://api.example.com/v1"
    if "@" in parts.netloc:
        return "the URL holds a credential; name the environment variable that holds it in api_key_env"
    if "?" in url or "#" in url:
        return "the URL may hold neither ? nor #; it ends with the path, such as /v1"
    return None


def problem_with_ledger(url: str) -> str | None:
    """Only the shape: whether the database answers is found out by opening it."""
    scheme = url.partition("://")[0].partition("+")[0]
    if scheme == "sqlite" and "://" in url:
        path = url.partition(":///")[2]
        return (
            None if path.startswith("/") else "a SQLite URL needs an absolute path: sqlite:////path/to/ledger.sqlite3"
        )
    if scheme in ("postgresql", "postgres") and "://" in url:
        return None
    return "expected sqlite:////path/to/ledger.sqlite3 or postgresql://host/database"


def problem_with_redis(url: str) -> str | None:
    parts = _split(url)
    if parts is not None and (parts.scheme == "unix" or (parts.scheme in ("redis", "rediss") and parts.hostname)):
        return None
    return "expected redis://host:6379/0, rediss://… or unix:///path/to/socket"


def is_local_redis(url: str) -> bool:
    """Whether a checked Redis URL names this machine alone, so that no other host shares it. In a cluster's, every
    ``node=host:port`` counts."""
    parts = urlsplit(url)
    nodes = [_split(f"//{value}") for name, value in parse_qsl(parts.query, keep_blank_values=True) if name == "node"]
    places = nodes if parts.scheme == "unix" else [parts, *nodes]
    return all(place is not None and is_loopback(place.hostname or "") for place in places)


def problem_with_host(host: str) -> str | None:
    """A bind address is an IP address or a name, with neither scheme nor port."""
    if "/" in host or any(c.isspace() for c in host):
        return "expected an address such as 127.0.0.1"
    try:
        ip_address(host)
    except ValueError:
        if not host or ":" in host:
            return "expected an address such as 127.0.0.1; the port has a setting of its own"
    return None


def _split(url: str) -> SplitResult | None:
    """``None`` where there is no sensible split: control characters (urlsplit drops some), a bad port or bracket."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
