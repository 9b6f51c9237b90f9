"""A relay's life in small, run as a process of its own: writes, and says what was acknowledged, until it is killed."""

import sys
from pathlib import Path

from journal.kit import finish, progress, start
from submeter.core.record import Tally
from submeter.journal.writer import JournalWriter


def main(directory: Path, sync: str, life: str) -> None:
    writer = JournalWriter(directory, sync="disk" if sync == "disk" else "os", segment_bytes=4000)
    say = sys.stdout.write
    for number in range(1_000_000):
        call_id = f"{life}-{number}"
        writer.start(start(call_id))
        say(f"start {call_id}\n")
        writer.first(progress(call_id, number))
        if number % 3 == 0:
            writer.tally([Tally("refused", "14", 1)])
        if number >= 5:  # five calls are always open
            writer.finish(finish(f"{life}-{number - 5}"))
            say(f"finish {life}-{number - 5}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
