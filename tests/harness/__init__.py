"""What end-to-end tests stand on: real processes on free ports, raw sockets, an edge that records bytes."""
