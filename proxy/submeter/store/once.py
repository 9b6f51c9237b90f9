"""Files that are made once, by whoever comes first."""

import os
from pathlib import Path


def make_once(path: Path, content: bytes) -> None:
    """Write the file (0600) and have it on the disk, unless it is there. Safe against two processes that both make it.
    Raises ``OSError``."""
    draft = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # the first one wins; a rename would let the second replace it
    except FileExistsError:
        pass
    finally:
        draft.unlink()
