"""docs/faults.md against a live relay, over raw sockets."""
