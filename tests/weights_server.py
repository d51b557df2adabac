"""A real server on this machine that misbehaves on demand, and published models small enough for tests."""

import hashlib
import io
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Fault:
    """What a server does wrong with an answer; each is used up after `times` answers (None: never)."""

    status: int | None = None
    cut: int | None = None
    hang: bool = False
    slow_bytes: int | None = None
    location: str | None = None
    ranges: bool = True
    said_length: int | None = None
    no_length: bool = False
    content: bytes | None = None
    kind: str = "application/octet-stream"
    headers: dict = field(default_factory=dict)
    times: int | None = 1


class Server:
    """Files under their names, and the faults of each in the order of the answers."""

    def __init__(self):
        self.files, self.faults, self.requests = {}, {}, []
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.answer(self)

            def log_message(self, *arguments):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # the client went away: that is what is tested

        self.http = Quiet(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def fault(self, name, *faults):
        self.faults[name] = list(faults)

    def _next(self, name):
        with self._lock:
            waiting = self.faults.get(name, [])
            if not waiting:
                return Fault()
            fault = waiting[0]
            if fault.times is not None:
                fault.times -= 1
                if fault.times == 0:
                    waiting.pop(0)
            return fault

    def answer(self, handler):
        name = handler.path.rsplit("/", 1)[-1]
        self.requests.append((handler.path, handler.headers.get("Range")))
        fault = self._next(name)
        if fault.hang:
            time.sleep(1.0)
            handler.close_connection = True
            return
        if fault.location is not None or fault.status is not None or name not in self.files:
            handler.send_response(fault.status or (404 if fault.location is None else 302))
            if fault.location is not None:
                handler.send_header("Location", fault.location)
            self._finish(handler, fault, b"")
            return
        self._send(handler, fault, fault.content if fault.content is not None else self.files[name])

    def _send(self, handler, fault, data):
        start = 0
        asked = handler.headers.get("Range")
        if asked and fault.ranges:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            if start >= len(data):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(data)}")
                self._finish(handler, fault, b"")
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            handler.send_response(200)
        self._finish(handler, fault, data[start:])

    def _finish(self, handler, fault, body):
        handler.send_header("Content-Type", fault.kind)
        for name, value in fault.headers.items():
            handler.send_header(name, value)
        if fault.no_length:
            handler.send_header("Connection", "close")
        else:
            handler.send_header("Content-Length", str(len(body) if fault.said_length is None else fault.said_length))
        handler.end_headers()
        shown = body if fault.cut is None else body[: fault.cut]
        step = fault.slow_bytes or max(1, len(shown))
        for place in range(0, len(shown), step):
            handler.wfile.write(shown[place : place + step])
            handler.wfile.flush()
            if fault.slow_bytes:
                time.sleep(0.01)
        if fault.cut is not None or fault.said_length is not None or fault.no_length:
            handler.close_connection = True


@contextmanager
def serving(files=None):
    server = Server()
    server.files.update(files or {})
    try:
        yield server
    finally:
        server.close()


def speech_files(hidden=8, seed=0):
    """Two checkpoints of Open-Unmix for speech in noise, with random weights, as published: name to bytes."""
    import torch

    from mss_models.networks.open_unmix.network import OpenUnmix, OpenUnmixShape

    files = {}
    for index, stem in enumerate(("speech", "noise")):
        torch.manual_seed(seed + index)
        network = OpenUnmix(OpenUnmixShape(channels=1, bins=513, heard_bins=513, hidden_size=hidden))
        written = io.BytesIO()
        torch.save({**network.state_dict(), "stft.window": torch.hann_window(1024)}, written)
        files[f"{stem}.pth"] = written.getvalue()
    return files


def write_manifest(path, server_url, files, *, ask=False, name="tinyse", hashes="full", mirrors=()):
    """Write a manifest with one model of Open-Unmix whose files are these."""
    parts = [
        f'schema = 1\n[[model]]\nname = "{name}"\nfamily = "open-unmix"\nstems = ["speech", "noise"]\n'
        f'sample_rate = 16000\nlicence = "test licence"\nlicence_source = "this test"\nask = {json.dumps(ask)}\n'
        'derived_from = "nothing"\ndescription = "random weights"\n'
    ]
    for file, data in files.items():
        sha256 = hashlib.sha256(data).hexdigest()
        told = {
            "full": f'sha256 = "{sha256}"\nbytes = {len(data)}\n',
            "prefix": f'sha256_prefix = "{sha256[:8]}"\napproximate_bytes = {len(data) + 100}\n',
            "none": "",
        }[hashes]
        addresses = json.dumps([f"{one}/{file}" for one in (server_url, *mirrors)])
        parts.append(f'[[model.file]]\nname = "{file}"\nrole = "{file[:-4]}"\naddresses = {addresses}\n{told}')
    parts.append('[[refused]]\nname = "old"\nreason = "a pickle"\ninstead = "tinyse"\n')
    path.write_text("\n".join(parts))
    return path
