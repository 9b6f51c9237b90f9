"""``python -m submeter.scripted``: the scripted provider as a process. SIGTERM or Ctrl-C ends it."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import msgspec

from submeter.scripted.app import serve
from submeter.scripted.invoice import Invoice
from submeter.scripted.script import Script, ScriptError, with_keys


def main() -> int:
    options = _options()
    try:
        defaults = _read_defaults(options.config)
    except (OSError, msgspec.DecodeError, ScriptError) as error:
        sys.stderr.write(f"{options.config}: {error}\n")
        return 2
    with Invoice(options.invoice) as invoice:
        return asyncio.run(_run(options, invoice, defaults))


async def _run(options: argparse.Namespace, invoice: Invoice, defaults: Script) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with serve(invoice, defaults, host=options.host, port=options.port) as url:
            _announce(url, options.port_file)
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


def _read_defaults(path: Path | None) -> Script:
    if path is None:
        return Script()
    return with_keys(Script(), msgspec.json.decode(path.read_bytes(), type=dict[str, object]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m submeter.scripted",
        description="Imitates LLM providers (OpenAI's and Anthropic's API), and writes an invoice.",
        epilog="Keys of --config and of the header x-scripted: python -c 'help(\"submeter.scripted\")'",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port (the default)")
    parser.add_argument("--invoice", type=Path, required=True, help="append one line of JSON per billed request")
    parser.add_argument("--config", type=Path, help="a JSON object of keys: what every call does by default")
    parser.add_argument("--port-file", type=Path, help="write the port there once the server listens")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
