"""Debian's nginx as a plain reverse proxy, in the foreground on a free port; `make test` installs it."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.processes import accepts, end, free_port, wait_for

CONFIG = """
daemon off; master_process off; pid {root}/pid; error_log {root}/error.log;
events {{}}
http {{
  access_log off; client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;
  fastcgi_temp_path {root}/fastcgi; uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
  client_max_body_size 64m; client_body_buffer_size 1m;
  upstream provider {{ server 127.0.0.1:{upstream}; keepalive 32; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
"""


def nginx_program() -> str:
    """Skips where there is none, which under CI is a failure."""
    found = shutil.which("nginx")
    if found is None:
        pytest.skip("no nginx: apt-get install nginx")
    return found


@contextmanager
def nginx(directory: Path, upstream_port: int) -> Iterator[str]:
    """What streams is passed on as it comes, over kept connections. The base URL, as an SDK takes it."""
    directory.mkdir()
    port = free_port()
    path = directory / "nginx.conf"
    path.write_text(CONFIG.format(root=directory, upstream=upstream_port, port=port))
    command = [nginx_program(), "-e", str(directory / "error.log"), "-c", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: accepts(port), "nginx")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        end(process)
