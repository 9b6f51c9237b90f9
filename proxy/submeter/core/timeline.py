"""When things happened in one call, as durations from t0 = "request body complete", by the monotonic clock."""


class Timeline:
    """Fed with readings of one monotonic clock in ns; every figure is ``None`` until its event has happened.

    ``overhead_ns`` is what this relay added: (first upstream write - t0) + the sum over reads of
    (bytes received -> handed to the client's socket). Waiting for a slow client is not in it.
    """

    __slots__ = (
        "_last_chunk",
        "_t0",
        "e2e_ns",
        "first_content_ns",
        "max_gap_ns",
        "overhead_ns",
        "ttfb_ns",
        "ttft_ns",
    )

    def __init__(self, t0_ns: int) -> None:
        self._t0 = t0_ns
        self._last_chunk: int | None = None
        self.ttfb_ns: int | None = None
        self.ttft_ns: int | None = None
        self.first_content_ns: int | None = None
        self.e2e_ns: int | None = None
        self.max_gap_ns: int | None = None
        self.overhead_ns: int | None = None

    def sent(self, now_ns: int) -> None:
        """The first byte went upstream."""
        self.overhead_ns = now_ns - self._t0

    def received(self, now_ns: int) -> None:
        """Any byte of the answer came in."""
        self.e2e_ns = now_ns - self._t0
        if self.ttfb_ns is None:
            self.ttfb_ns = self.e2e_ns

    def chunk(self, now_ns: int, *, token: bool, content: bool) -> None:
        """A piece of the body came in; ``token``/``content``: such a delta has been seen by now."""
        if self._last_chunk is not None:
            self.max_gap_ns = max(now_ns - self._last_chunk, -1 if self.max_gap_ns is None else self.max_gap_ns)
        self._last_chunk = now_ns
        if token and self.ttft_ns is None:
            self.ttft_ns = now_ns - self._t0
        if content and self.first_content_ns is None:
            self.first_content_ns = now_ns - self._t0

    def handed(self, received_ns: int, now_ns: int) -> None:
        """What came in at ``received_ns`` was handed to the client's socket."""
        self.overhead_ns = now_ns - received_ns + (0 if self.overhead_ns is None else self.overhead_ns)
