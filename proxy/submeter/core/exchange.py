"""One upstream attempt as a state machine: bytes and clock readings in, bytes to pass on and exactly one FINISH out.

    sent ─▶ head ─▶ feed … ─▶ end            the answer came whole
      │       │       └─────▶ lost           the upstream stopped in the middle
      │       └─────────────▶ client_gone    nobody listens any more
      └─────────────────────▶ failed         no answer came

Whichever way a call goes, ``finish`` becomes a record once and never changes. The caller journals it *before* it
writes the bytes that the same step returned. Only between the two may it be amended: where the provider has not said
what it counted, there is a ``question``, and the answer is ``counted``.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from submeter.core import counting
from submeter.core.body import Body, EncodedBody, EventBody, PassedBody, WholeBody
from submeter.core.counting import Question
from submeter.core.dialect import Dialect, dialect_for
from submeter.core.errors import stream_error
from submeter.core.record import Counted, Finish, Outcome, Progress, Start, TokenClasses
from submeter.core.timeline import Timeline

PROGRESS_NS = 2_000_000_000
PROGRESS_CHUNKS = 256


class Head(msgspec.Struct, frozen=True):
    """The parts of an answer's head that metering needs."""

    status: int
    event_stream: bool
    encoded: bool
    """gzip or deflate; any other encoding is opaque."""
    opaque: bool
    request_id: str | None


def read_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> Head:
    event_stream = encoded = opaque = False
    ids: dict[bytes, str] = {}
    for name, value in headers:
        lower = name.lower()
        if lower == b"content-type":
            event_stream = value.strip().lower().startswith(b"text/event-stream")
        elif lower == b"content-encoding":
            encoding = value.strip().lower()
            encoded = encoding in (b"gzip", b"x-gzip", b"deflate")
            opaque = not encoded and encoding not in (b"", b"identity")
        elif lower in (b"x-request-id", b"request-id"):
            ids[lower] = value.decode("ascii", "replace")[:128]
    request_id = ids.get(b"x-request-id", ids.get(b"request-id"))
    return Head(status, event_stream, encoded, opaque, request_id)


class Exchange:
    """One attempt of a metered call. ``strip_usage``: the relay asked for the usage chunk, the caller did not;
    ``countable``: somebody can be asked for the tokens of an answer without usage, so its output is kept."""

    def __init__(self, start: Start, t0_ns: int, *, strip_usage: bool = False, countable: bool = False) -> None:
        self.start = start
        self.timeline = Timeline(t0_ns)
        self.finish: Finish | None = None
        self.head: Head | None = None
        self.bytes_out = 0
        self._dialect: Dialect = dialect_for(start.endpoint)
        self._dialect.answer.keeps = countable
        self._strip = strip_usage
        self._body: Body | None = None
        self._open_ended = True
        self._chunks = 0
        self._noted_chunks = 0
        self._noted_ns: int | None = None
        self._gone_at_bytes: int | None = None

    @property
    def answer_complete(self) -> bool:
        """The answer's own end was seen and it was neither an error nor cut short: fit for the cache."""
        answer = self._dialect.answer
        return (
            self.finish is not None
            and self.finish.outcome == "ok"
            and answer.complete
            and answer.usage is not None
            and not answer.error_seen
            and not answer.unreadable
        )

    @property
    def calls_tools(self) -> bool:
        """The answer asks its caller to run a function."""
        return self._dialect.answer.tool_calls

    @property
    def all_choices_finished(self) -> bool:
        """Nothing more will be generated: reading on for the usage costs nothing."""
        return self._dialect.answer.finished_choices >= max(1, self.start.n)

    def sent(self, now_ns: int) -> None:
        self.timeline.sent(now_ns)

    def take_head(
        self, status: int, headers: Iterable[tuple[bytes, bytes]], now_ns: int, *, open_ended: bool = True
    ) -> None:
        """``open_ended``: the caller's framing leaves room for a last event after a stream that breaks off."""
        self.timeline.received(now_ns)
        self._open_ended = open_ended
        head = self.head = read_head(status, headers)
        self._body = self._body_for(head)

    def feed(self, data: bytes, now_ns: int) -> bytes:
        """Bytes of the body, and the answer's bytes that may be passed on; ``finish`` may be set by it."""
        assert self._body is not None, "feed before take_head"
        out = self._body.feed(data)
        self._chunks += 1
        answer = self._dialect.answer
        self.timeline.received(now_ns)
        self.timeline.chunk(now_ns, token=answer.token_seen, content=answer.content_seen)
        self.bytes_out += len(out)
        if self._body.ended:
            self._settle(self._final_outcome())
        return out

    def end(self, now_ns: int) -> tuple[bytes, bool]:
        """HTTP says that the body is over: (last bytes, whether the answer is complete)."""
        assert self._body is not None, "end before take_head"
        self.timeline.received(now_ns)
        out = self._body.end()
        if self.finish is None and self._broken_off():
            return self._break("upstream_incomplete", out), False
        self.bytes_out += len(out)
        self._settle(self._final_outcome())
        return out, True

    def lost(self, outcome: Outcome) -> bytes:
        """The upstream stopped in the middle of its body: the last bytes, an error event after a stream's."""
        if self._body is None:
            return b""
        return self._break(outcome, self._body.end())

    def replaced(self) -> None:
        """The upstream's answer is not passed on: a redirect, or its refusal of the configured key."""
        self._settle("upstream_error", refused=True)

    def failed(self, outcome: Outcome, status: int | None, *, reached: bool) -> None:
        """No answer came; ``reached``: the request, or a part of it, had been sent."""
        self._settle(outcome, status=status, refused=not reached)

    def client_gone(self) -> None:
        """Nobody listens any more and the upstream is closed."""
        self._settle("client_gone")

    def client_left(self) -> None:
        """Nobody listens any more, but the answer is read on for its usage."""
        if self._gone_at_bytes is None:
            self._gone_at_bytes = self._dialect.answer.output_bytes

    def question(self, body: bytes) -> Question | None:
        """What is there to be counted, now that the call has ended; ``None``: nothing. ``body``: the request's."""
        finish, start = self.finish, self.start
        if finish is None or finish.usage is not None or not self._is_estimated(finish):
            return None
        answer = self._dialect.answer
        kept = answer.keeps and answer.output_bytes > 0
        told = finish.seen is not None and finish.seen.input_total > 0
        elsewhere = start.tools or start.refers_elsewhere or start.unbounded
        sent = not (told or elsewhere or len(body) > counting.MAX_BODY_BYTES)
        if not (kept or sent):
            return None
        return Question(
            endpoint=start.endpoint,
            model=start.model_requested if finish.model_served is None else finish.model_served,
            body=body if sent else None,
            content=bytes(answer.content) if kept else None,
            other=bytes(answer.other) if kept else None,
            plain=self._is_one_text(),
        )

    def counted(self, counted: Counted | None, waited_ns: int) -> None:
        """The answer to the question, ``waited_ns`` later; ``None``: there was none in time."""
        assert self.finish is not None
        self.timeline.handed(0, waited_ns)
        self.finish = msgspec.structs.replace(self.finish, counted=counted, overhead_ns=self.timeline.overhead_ns)

    def progress(self, now_ns: int) -> tuple[Literal["first", "progress"], Progress] | None:
        """What to note in the journal now, if anything: the first token, then every 2 s or 256 chunks."""
        answer = self._dialect.answer
        if not answer.token_seen or self.finish is not None:
            return None
        kind: Literal["first", "progress"] = "first" if self._noted_ns is None else "progress"
        if self._noted_ns is not None:
            due = now_ns - self._noted_ns >= PROGRESS_NS or self._chunks - self._noted_chunks >= PROGRESS_CHUNKS
            if not due:
                return None
        self._noted_ns, self._noted_chunks = now_ns, self._chunks
        start = self.start
        return kind, Progress(
            start.call_id,
            start.attempt,
            self.timeline.ttft_ns,
            answer.output_bytes,
            answer.seen if answer.usage is None else answer.usage,
            answer.model,
            None if self.head is None else self.head.request_id,
        )

    def _body_for(self, head: Head) -> Body:
        if not self.start.metered:
            return PassedBody()
        if head.status >= 400 or head.opaque:
            return WholeBody(None)
        inner: EventBody | WholeBody
        if head.event_stream:
            inner = EventBody(self._dialect, strip_usage=self._strip and not head.encoded)
        else:
            inner = WholeBody(self._dialect)
        return EncodedBody(inner) if head.encoded else inner

    def _is_estimated(self, finish: Finish) -> bool:
        """Will this be an estimate, of a call that the provider began to answer, or may have?"""
        lost = finish.outcome == "indeterminate" or (self.head is None and finish.outcome != "client_gone")
        return self.start.metered and not (finish.refused or finish.deferred or lost)

    def _is_one_text(self) -> bool:
        """Was the output one text, and all of it read?"""
        answer = self._dialect.answer
        missed = answer.unreadable or (self._body is not None and self._body.missed)
        return not missed and not answer.tool_calls and self.start.n <= 1

    def _broken_off(self) -> bool:
        """A stream that HTTP ended cleanly, but not the dialect: neither its last event nor a finish reason."""
        head, body, answer = self.head, self._body, self._dialect.answer
        assert head is not None
        assert body is not None
        return (
            head.event_stream
            and not body.missed
            and not answer.complete
            and not answer.error_seen
            and not self.all_choices_finished
        )

    def _break(self, outcome: Outcome, rest: bytes) -> bytes:
        out = rest
        head = self.head
        plain = head is not None and head.event_stream and head.status < 400 and not (head.encoded or head.opaque)
        if self.finish is None and self.start.metered and plain and self._open_ended:
            # End whatever event is open, then say in the dialect that this is not the end of the answer.
            out = rest + b"\n\n" + stream_error(self._dialect.error_kind)
        self.bytes_out += len(out)
        self._settle(outcome)
        return out

    def _final_outcome(self) -> Outcome:
        if self._gone_at_bytes is not None:
            return "client_gone"
        head = self.head
        assert head is not None
        return "upstream_error" if head.status >= 400 or self._dialect.answer.error_seen else "ok"

    def _settle(self, outcome: Outcome, *, status: int | None = None, refused: bool = False) -> None:
        if self.finish is not None:
            return
        answer, times, head = self._dialect.answer, self.timeline, self.head
        usage, seen = self._usage()
        self.finish = Finish(
            call_id=self.start.call_id,
            attempt=self.start.attempt,
            outcome=outcome,
            status=head.status if head is not None and status is None else status,
            cache=self.start.cache,
            model_served=answer.model,
            service_tier=answer.service_tier,
            finish_reason=answer.finish_reason,
            upstream_request_id=None if head is None else head.request_id,
            usage=usage,
            usage_problem=answer.usage_problem,
            seen=seen,
            output_bytes=answer.output_bytes,
            refused=refused or (head is not None and head.status >= 400),
            ttfb_ns=times.ttfb_ns,
            ttft_ns=times.ttft_ns,
            first_content_ns=times.first_content_ns,
            e2e_ns=times.e2e_ns,
            max_gap_ns=times.max_gap_ns,
            overhead_ns=times.overhead_ns,
            bytes_out=self.bytes_out,
            provider_cost=answer.cost_usd,
            tokens_after_disconnect=None if usage is None else self._after_disconnect(usage.output_total),
            web_searches=answer.web_searches,
            region=answer.region,
            deferred=answer.deferred,
        )

    def _usage(self) -> tuple[TokenClasses | None, TokenClasses | None]:
        """(complete, only a lower bound). Running totals are complete once nothing more will be generated."""
        answer = self._dialect.answer
        if answer.usage is None or answer.complete or self.all_choices_finished:
            return answer.usage, answer.seen
        return None, answer.usage

    def _after_disconnect(self, total: int) -> int | None:
        """Output tokens that were generated for nobody, by the share of the bytes that came after."""
        answer = self._dialect.answer
        if self._gone_at_bytes is None:
            return None
        if answer.output_bytes == 0:
            return total
        return total - total * self._gone_at_bytes // answer.output_bytes
