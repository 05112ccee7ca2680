"""An HTTP server on the loopback address that plays a mirror."""

from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Mirror:
    """What a mirror serves and what it was asked for; a header that is empty is not sent.

    With a ``piece`` it sends so many bytes at a time.
    """

    url: str
    files: dict[str, bytes]
    status: int = 200
    piece: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


@contextmanager
def serve(files):
    """Serve ``files`` by name; whatever else is asked for is not found."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.rpartition("/")[2]
            mirror.requests.append(name)
            if name not in mirror.files:
                self.send_error(404)
                return
            self.send_response(mirror.status)
            content = mirror.files[name]
            for key, value in {"Content-Length": str(len(content)), **mirror.headers}.items():
                if value:
                    self.send_header(key, value)
            self.end_headers()
            piece = mirror.piece or len(content)
            with suppress(OSError):  # who gets it has had enough
                for first in range(0, len(content), piece):
                    self.wfile.write(content[first : first + piece])

        def log_message(self, format, *args):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    mirror = Mirror(f"http://127.0.0.1:{server.server_port}/mnist", dict(files))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
