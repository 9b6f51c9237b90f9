"""How late things happened and how busy the process was, in bounded memory."""

_BUCKETS = 64
_FIRST_NS = 1_000
_RATIO = 1.4


class Lag:
    """Counts by size, each bucket 40 % above the one before, from a microsecond up; a percentile is a bucket's end."""

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS

    def note(self, late_ns: int) -> None:
        bucket, end_ns = 0, float(_FIRST_NS)
        while late_ns > end_ns and bucket < _BUCKETS - 1:
            bucket, end_ns = bucket + 1, end_ns * _RATIO
        self._counts[bucket] += 1

    def p99_ms(self) -> float:
        """0 where nothing was noted."""
        total, seen = sum(self._counts), 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= 0.99 * total:
                return _FIRST_NS * _RATIO**bucket / 1e6 if total else 0.0
        return 0.0


class Cpu:
    """The share of a core that a process used, in its busiest window."""

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._since: tuple[int, int] | None = None
        self.most: float | None = None
        """``None``: no window has passed."""

    def note(self, now_ns: int, used_ns: int) -> None:
        """``used_ns``: CPU time since the process began."""
        if self._since is None:
            self._since = now_ns, used_ns
        passed_ns = now_ns - self._since[0]
        if passed_ns >= self._window_ns:
            share = (used_ns - self._since[1]) / passed_ns
            self.most = share if self.most is None else max(share, self.most)
            self._since = now_ns, used_ns
