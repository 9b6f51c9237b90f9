"""The scripted provider: imitates OpenAI's and Anthropic's API, does what it is told, and writes its own invoice.

Use it to test an application, or a proxy in front of it, with no key, no network and no bill. It shares nothing
with Submeter's metering: its token counts, prices (``prices.json``) and arithmetic are its own, so that comparing
the ledger with the invoice means something.

As a process (prints ``listening on http://127.0.0.1:PORT/v1``; SIGTERM ends it)::

    python -m submeter.scripted --invoice invoice.jsonl --port 9000 --config defaults.json --port-file port

In a test::

    with Invoice("invoice.jsonl") as invoice:
        async with serve(invoice, Script(ttft_ms=50, output_tokens=200)) as base_url:
            client = AsyncOpenAI(base_url=base_url, api_key="any", default_headers={"x-scripted": "status=429"})
    lines = read_invoice("invoice.jsonl")
    total_nano_usd(lines)

**Paths.** ``/v1/chat/completions``, ``completions``, ``embeddings``, ``responses`` and ``messages`` (also at
``/messages``) are billed, whole and streamed; all but messages also at Azure's ``/openai/deployments/MODEL/…``,
``/openai/responses`` (both want ``api-version``) and ``/openai/v1/…``. ``models``, ``moderations``,
``images/generations``, ``files`` (multipart upload of any size: answers its bytes and SHA-256),
``files/ID/content?bytes=N`` (a large download) and WebSocket echoes at ``/v1/responses`` and ``/v1/realtime`` are not.
All else is a 404 in OpenAI's shape.

**Later answers.** A response with ``background`` is ``queued``, and is billed when it is done, asked for or not; GET
``responses/ID`` (``?stream=true``) brings it, as it brings one with ``store: true``; POST ``responses/ID/cancel``.
``batches`` (from a file that was uploaded for it) and ``messages/batches`` are done at once; each line has an invoice
line.

**Counting.** A prompt counts one token per four UTF-8 bytes of its text, rounded up, at least one; tools and images
count nothing. Output counts one token per word, and one word is one chunk. The answer is a function of (seed, model,
prompt text): ask again and the same text comes. A request's own limit (``max_tokens`` …) cuts the answer short.
An answer calls the first declared tool if the request requires one, or the script says ``tool_call``.

**Time.** The head and the events without tokens go out at once; the first token after ``ttft_ms``, each other chunk
``gap_ms`` later. A whole answer takes as long as its stream would. Instead of these two, a linear model of the
lengths: the first token after ``base_ms + input_ms_per_token × uncached input + cached_ms_per_token × cached input``,
each other chunk ``output_ms_per_token × its tokens`` later, each of these waits times its own lognormal ``noise`` of
mean 1, which depends on seed, model, prompt and token counts alone: equal requests take equally long. Both in one
script are a 400 that names the clash.

**Load.** With ``batching`` in ``--config`` (``serve(…, batching=Batching(…))``) all calls share one device, like those
of a continuous-batching server: ``{"batching": {"slots": 8, "step_ms": 20, "step_ms_per_running": 1.5,
"prefill_tokens_per_s": 10000}}``. It works in iterations: each brings a token to every call that decodes, and computes
the prompts of those that wait while slots, ``chunk_tokens`` and ``kv_tokens`` last (no limit, unless told); it takes
``step_ms + step_ms_per_running × decodes + uncached prompt tokens / prefill_tokens_per_s``. It is the core of the
weekly report's simulator: what is planted can be measured and simulated. A call that ``kv_tokens`` could never hold is
a 400. No script says times then. ``saturation_rate`` is the rate of requests that such a device can just bear.
Background jobs and batches take no part.

**Script.** What a call does: the server's defaults (``--config``, a JSON object; or a ``Script``), then the request
header ``x-scripted: key=value;key=value``, then the query ``?scripted=…``. A bare ``key`` means ``key=1``. An unknown
key is a 400 that names it.

========================== ========================================================================================
Key                        What it does (unless told)
========================== ========================================================================================
``ttft_ms``                time to the first token (0)
``gap_ms``                 time between chunks (0)
``base_ms``                time to the first token that no length changes (0)
``input_ms_per_token``     what each uncached input token adds to it, those written to the cache included (0)
``cached_ms_per_token``    what each input token read from the cache adds to it (0)
``output_ms_per_token``    time to each token after the first chunk (0)
``noise``                  sigma of the linear model's lognormal noise, up to 2: 0.1 is about 10 % (0)
``slow_close_ms``          keeps a stream open after its last event (0)
``background_ms``          how long a background response takes (0)
``seed``                   another seed is another text (0)
``text``                   ``ascii``, or ``unicode``: words with characters of two to four bytes (``ascii``)
``output_tokens``          visible tokens of each choice (16)
``reasoning_tokens``       tokens of reasoning before them (0)
``reasoning``              ``shown`` as ``reasoning_content``, reasoning summary or thinking block; or ``hidden``:
                           it takes its time and its price, but no byte is sent (``shown``)
``tool_call``              1: call the first declared tool (0)
``tokens_per_chunk``       tokens in one chunk (1)
``input_tokens``           the prompt's tokens, instead of counting them
``cached_tokens``          prompt tokens read from the cache (0). A prompt is never smaller than its parts
``cache_write_tokens``     prompt tokens written to the cache for a time that is not named (0)
``cache_write_5m_tokens``  the same for five minutes (0). Only Anthropic's dialect names times; in the others all
                           writes are one sum
``cache_write_1h_tokens``  the same for an hour (0)
``model_served``           the model that answers, if not the one asked for
``fixed_ids``              1: ids and times depend on the prompt alone; equal requests get equal bytes, but for the
                           headers Date and request id (0)
``usage``                  how the usage block is told (``normal``). True are ``normal``, ``finish_chunk`` (with
                           the finish reason), ``repeated`` (three times), ``cumulative`` (the count so far in
                           every chunk), ``decreasing`` (too much first, the truth last), ``zero`` (and billed as
                           zero). Missing: ``none``, ``null``. Lies: ``negative``, ``nan``, ``float``, ``string``,
                           ``huge`` (beyond 2^60), ``inconsistent`` (parts exceed the whole)
``chunk_bytes``            cuts the body anew into writes of so many bytes; a whole answer then comes chunked
``split_utf8``             1: a write ends inside the first multi-byte character of each event (0)
``line_end``               ``lf``, ``crlf`` or ``cr`` in streams (``lf``)
``comments``               1: a comment line before each event (0)
``done``                   0: chat and completions streams end without ``[DONE]`` (1)
``content_length``         1: a stream with Content-Length instead of chunks (0)
``until_close``            1: neither; the body ends where the connection ends (0)
``gzip``                   1: compressed, whatever was asked for (0)
``status``                 400 … 599: an error answer instead
``redirect``               1: a 307 instead (0)
``reset_before_head``      1: a TCP reset once the request is read (0)
``hang_before_head``       1: nothing comes until the client leaves (0)
``reject_stream_options``  1: a request with ``stream_options`` gets a 400 that names it (0)
``not_json``               1: a whole answer is a web page with status 200 (0)
``cut_after_chunks``       after so many chunks with tokens the connection ends, in the middle of the body
``reset_after_chunks``     the same with a TCP reset, which may take the last bytes with it
``end_after_chunks``       the body ends properly, but without its final events
``stall_after_chunks``     nothing more comes until the client leaves
``error_after_chunks``     an error event, then the body ends properly
``malformed``              what is wrong with the first chunk with tokens, or with a whole body: ``bad_json``,
                           ``bad_utf8``, ``no_blank_line`` after it, ``huge_line``
``huge_bytes``             how huge (10000000)
``whole_cut``              1: half of a whole answer whose Content-Length says all, then the connection ends (0)
========================== ========================================================================================

**Invoice.** One line of JSON per billed request, whatever became of it: ``request_id`` (the value of
``x-request-id`` or ``request-id``), ``endpoint``, ``model``, ``service_tier``, ``status`` (null: no head was
sent), ``stream``, ``tokens`` (by class), ``input_tokens``, ``output_tokens``, ``reported`` (a usage block was sent
that is complete and true), ``complete`` (the answer was written whole), ``closed_by_client``, ``started_at``,
``closed_at``, ``price`` (USD per million), ``price_known``, ``cost_nano_usd``. Refused requests cost nothing;
others pay for their input once accepted, and for each chunk as it is generated, until the connection closes. The
line is on the disk before the bytes that end the answer are sent.

**Log.** ``--log FILE`` (``serve(…, log=Log(FILE))``): one line of JSON per answer that began, once it has ended:
``request_id``, and ``received`` (the request was read), ``first_token``, ``last_token`` (just before their bytes, or
a whole answer's, are handed to the connection; null: none was), each with ``wall_ns`` and ``monotonic_ns``.
"""

from submeter.scripted.app import make_app, serve
from submeter.scripted.batching import Batch, Batching, saturation_rate
from submeter.scripted.invoice import Invoice, read_invoice, total_nano_usd
from submeter.scripted.log import Log, read_log
from submeter.scripted.script import Script

__all__ = [
    "Batch",
    "Batching",
    "Invoice",
    "Log",
    "Script",
    "make_app",
    "read_invoice",
    "read_log",
    "saturation_rate",
    "serve",
    "total_nano_usd",
]
