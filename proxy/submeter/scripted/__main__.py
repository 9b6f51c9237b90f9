"""``python -m submeter.scripted``: the scripted provider as a process. SIGTERM or Ctrl-C ends it."""

import argparse
import asyncio
import signal
import sys
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

import msgspec

from submeter.scripted.app import serve
from submeter.scripted.batching import Batching
from submeter.scripted.batching import read as read_batching
from submeter.scripted.invoice import Invoice
from submeter.scripted.log import Log
from submeter.scripted.loop import new_loop
from submeter.scripted.script import Script, ScriptError, check_batched, with_keys


def main() -> int:
    options = _options()
    try:
        defaults, batching = _read_config(options.config)
    except (OSError, msgspec.DecodeError, ScriptError) as error:
        sys.stderr.write(f"{options.config}: {error}\n")
        return 2
    with Invoice(options.invoice) as invoice, nullcontext() if options.log is None else Log(options.log) as log:
        provider = serve(invoice, defaults, batching=batching, log=log, host=options.host, port=options.port)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(_run(provider, options.port_file))


async def _run(provider: AbstractAsyncContextManager[str], port_file: Path | None) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with provider as url:
            _announce(url, port_file)
            await stop.wait()
    except OSError as error:
        sys.stderr.write(f"cannot listen: {error.strerror}\n")
        return 2
    return 0


def _announce(url: str, port_file: Path | None) -> None:
    if port_file is not None:
        unfinished = port_file.with_name(port_file.name + ".new")
        unfinished.write_text(url.removesuffix("/v1").rpartition(":")[2])
        unfinished.rename(port_file)  # whoever waits for the file finds it complete
    sys.stdout.write(f"listening on {url}\n")
    sys.stdout.flush()


def _read_config(path: Path | None) -> tuple[Script, Batching | None]:
    """What every call does by default, and the device that all share, if they do."""
    if path is None:
        return Script(), None
    keys = msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    if "batching" not in keys:
        return with_keys(Script(), keys), None
    batching = read_batching(keys.pop("batching"))
    defaults = with_keys(Script(), keys)
    check_batched(defaults)
    return defaults, batching


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m submeter.scripted",
        description="Imitates LLM providers (OpenAI's and Anthropic's API), and writes an invoice.",
        epilog="Keys of --config and of the header x-scripted: python -c 'help(\"submeter.scripted\")'",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port (the default)")
    parser.add_argument("--invoice", type=Path, required=True, help="append one line of JSON per billed request")
    parser.add_argument("--config", type=Path, help="a JSON object of keys: what every call does by default; batching")
    parser.add_argument("--log", type=Path, help="append one line of JSON per answer: when its tokens were sent")
    parser.add_argument("--port-file", type=Path, help="write the port there once the server listens")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
