"""What `submeter doctor` looks at. Each check looks, never mends, and says how to mend.

machine   the settings, data directory, disk, where this shell's SDKs send their calls
network   the two planes, every upstream, the clock, Redis (``probe`` asks one address)
books     the price book, models that it does not price, what the journal still holds
"""

import asyncio

from submeter.commands.checks import books, machine, network
from submeter.commands.checks.finding import Finding
from submeter.config import Settings

__all__ = ["Finding", "examine"]


def examine(settings: Settings, sdk_base_url: str | None) -> list[Finding]:
    """Every check, in the order in which a person would mend things. Takes as long as the slowest address."""
    return [
        *machine.serving(settings),
        *machine.data_directory(settings),
        *asyncio.run(network.everything(settings)),
        *books.prices(settings),
        *books.ledger(settings),
        *machine.sdk(settings, sdk_base_url),
    ]
