"""The front end's side: the example page and a jQuery, served from an origin that is not the api's."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.machine import missing

_HERE = Path(__file__).parent
_EXAMPLE = _HERE.parents[1] / "examples" / "jquery.html"


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served_site(folder: Path, jquery: str) -> Iterator[str]:
    """Serve the page with a package of node_modules as its jQuery; the origin, as a browser sends it."""
    library = _HERE / "node_modules" / jquery / "dist" / "jquery.min.js"
    if not library.exists():
        missing(f"{jquery} is not installed: npm ci --prefix tests/browser")
    shutil.copy(library, folder)
    shutil.copy(_EXAMPLE, folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, name=f"site with {jquery}")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
