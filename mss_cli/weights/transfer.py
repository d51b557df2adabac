"""Files from servers: resumed, tried again, verified before they get their names; the only module on the network.

Proxies are those of the system or of `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`; certificates those of the system or of
`SSL_CERT_FILE`, `SSL_CERT_DIR`: the standard library knows both, so no package is needed for it.
"""

import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import Message
from io import FileIO
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

from mss_cli.errors import DownloadError, MssError, OutputError, WeightsError
from mss_cli.files import publish
from mss_cli.version import version
from mss_cli.weights.cache import Receipt, cache_error, file_sha256, make_cache_folder
from mss_cli.weights.published import PublishedFile

Progress = Callable[[int], None]
Note = Callable[[str], None]

_PIECE_BYTES: Final = 1 << 18
# More than this of what a file should have is another file; where nothing is known, more than any weights have.
_TOO_MUCH: Final = 4
_LARGEST_BYTES: Final = 16 << 30
_TRY_AGAIN: Final = (408, 425, 429)
_NOT_SATISFIABLE: Final = 416
_PARTIAL: Final = 206
_MOST_TRIES: Final = 200


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for.

    Parameters
    ----------
    timeout_seconds : float
        Without a byte.
    tries : int
        That bring nothing new, before the next address is taken.
    first_wait_seconds, longest_wait_seconds : float
        Between two tries; doubled each time.
    """

    timeout_seconds: float = 30.0
    tries: int = 5
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 30.0

    def wait_seconds(self, failures: int) -> float:
        """Give the pause after that many failures."""
        return min(self.longest_wait_seconds, self.first_wait_seconds * 2.0 ** (failures - 1))


PATIENCE: Final = Patience()


class _TryAgain(Exception):
    """The same address may do better in a moment."""

    def __init__(self, reason: str, *, after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds


class _Elsewhere(Exception):
    """An address will not do; `passing` if it might at another time."""

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing


def fetch(
    file: PublishedFile,
    target: Path,
    addresses: Sequence[str],
    *,
    progress: Progress,
    note: Note,
    patience: Patience | None = None,
) -> Receipt:
    """Fetch a file and give it its final name once its size and hash are those published.

    A broken transfer leaves a hidden file beside the target, from which the next one goes on; files of which no hash
    was published begin anew. The caller sees to it that no other process fetches the same file.

    Parameters
    ----------
    file : PublishedFile
    target : Path
        Final name; its folder is made.
    addresses : sequence of str
        Tried in this order.
    progress : callable
        Takes the bytes that are there, often.
    note : callable
        Takes one line for people when something is tried again.
    patience : Patience, optional

    Raises
    ------
    DownloadError
        If an address did not answer that may do so later.
    WeightsError
        If no address has the file.
    OutputError
        If it cannot be written.
    """
    make_cache_folder(target.parent)
    part = target.with_name(f".{target.name}.part")
    if file.sha256 is None and file.sha256_prefix is None:
        part.unlink(missing_ok=True)
    failures: list[tuple[str, _Elsewhere]] = []
    for address in addresses:
        try:
            sha256 = _Transfer(file, part, address, progress, note, patience or PATIENCE).run()
        except _Elsewhere as failure:
            failures.append((urlsplit(address).hostname or address, failure))
            note(f"{address}: {failure}")
            continue
        receipt = Receipt(sha256, part.stat().st_size, address)
        try:
            publish({part: target})
        except OutputError as error:
            raise cache_error(target, error) from error
        return receipt
    raise _failed(file, failures)


def _failed(file: PublishedFile, failures: Sequence[tuple[str, _Elsewhere]]) -> MssError:
    told = "; ".join(f"{host}: {failure}" for host, failure in failures) or "no address is known"
    message = f"cannot be downloaded ({told})"
    others = "give another address with `--mirror URL`, or the file with `--from FILE`"
    if any(failure.passing for _, failure in failures):
        return DownloadError(message, path=file.name, hint=f"try again later, {others}")
    return WeightsError(message, path=file.name, hint=others)


@dataclass(slots=True)
class _Transfer:
    """One file from one address."""

    file: PublishedFile
    part: Path
    address: str
    progress: Progress
    note: Note
    patience: Patience

    def run(self) -> str:
        """Fetch until the file is whole and right; give its hash."""
        failures, best = 0, self._have()
        resumed = best > 0
        for _ in range(_MOST_TRIES):
            try:
                self._once()
                sha256 = file_sha256(self.part)
                if self.file.agrees(sha256):
                    return sha256
                self.part.unlink()
                if not resumed:
                    expected = self.file.sha256 or f"{self.file.sha256_prefix}..."
                    raise _Elsewhere(f"SHA-256 differs: expected {expected}, got {sha256}")
                resumed, best, reason, pause = False, 0, "what was resumed does not fit together", None
            except _TryAgain as failure:
                reason, pause = str(failure), failure.after_seconds
                resumed = True
            # Only tries that bring nothing new are counted: a line that breaks often still gets there.
            failures = 0 if self._have() > best else failures + 1
            best = max(best, self._have())
            if failures >= self.patience.tries:
                raise _Elsewhere(reason, passing=True)
            pause = self.patience.wait_seconds(max(1, failures)) if pause is None else pause
            self.note(f"{self.address}: {reason}; next try in {pause:.0f} s")
            time.sleep(min(pause, self.patience.longest_wait_seconds))
        raise _Elsewhere("the line breaks too often", passing=True)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _once(self) -> None:
        """Ask once for what is missing and write what comes."""
        have = self._have()
        if have and have == self.file.size_bytes:
            return
        headers = {"User-Agent": f"mss-cli/{version()}", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        try:
            request = urllib.request.Request(self.address, headers=headers)
            with _opener().open(request, timeout=self.patience.timeout_seconds) as answer:
                self._write(answer, answer.status, answer.headers, have)
        except urllib.error.HTTPError as error:
            error.close()
            self._refused(error)
        except urllib.error.URLError as error:
            raise _unreachable(error.reason) from error
        except (OSError, http.client.HTTPException) as error:
            raise _TryAgain(_words(error)) from error
        except ValueError as error:
            raise _Elsewhere(f"no address of a file ({error})") from error

    def _refused(self, error: urllib.error.HTTPError) -> None:
        words = f"{error.code} {error.reason}".strip().lower()
        if error.code == _NOT_SATISFIABLE:
            # Nothing is left to send: the part is whole, or too long; the hash tells.
            total = _total(error.headers)
            if total is not None and total != self._have():
                self.part.unlink(missing_ok=True)
                raise _TryAgain(words) from error
            return
        if error.code in _TRY_AGAIN or error.code >= 500:
            wait = error.headers.get("Retry-After", "") if error.headers else ""
            raise _TryAgain(words, after_seconds=float(wait) if wait.isdecimal() else None) from error
        raise _Elsewhere(words) from error

    def _write(self, answer: "http.client.HTTPResponse", status: int, headers: Message, have: int) -> None:
        start = _start(headers) if status == _PARTIAL else 0
        if start not in (0, have):
            raise _TryAgain("the server sent another part than it was asked for")
        length = _length(headers)
        expected = None if length is None else start + length
        self._check_size(expected, headers)
        most = self.file.size_bytes or _TOO_MUCH * (self.file.about_bytes or _LARGEST_BYTES)
        missing = (expected or self.file.about_bytes or 0) - start
        if missing > (free := shutil.disk_usage(self.part.parent).free):
            reason = f"{missing / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free"
            raise cache_error(self.part, OutputError(f"not enough room: {reason}", path=str(self.part.parent)))
        done = self._copy(answer, start, most)
        if expected is not None and done < expected:
            raise _TryAgain(f"the line broke after {done} of {expected} bytes")
        if self.file.size_bytes is not None and done < self.file.size_bytes:
            raise _TryAgain(f"the line broke after {done} of {self.file.size_bytes} bytes")

    def _check_size(self, expected: int | None, headers: Message) -> None:
        wanted = self.file.size_bytes
        if wanted is not None and expected not in (None, wanted):
            raise _Elsewhere(f"its file has {expected} bytes instead of {wanted}")
        if headers.get_content_type() == "text/html":
            raise _Elsewhere("a web page instead of the file")
        chunked = headers.get("Transfer-Encoding", "").lower() == "chunked"
        if self.file.agrees("") and wanted is None and expected is None and not chunked:
            raise _Elsewhere("no hash is published, and the server does not say how long the file is")

    def _copy(self, answer: "http.client.HTTPResponse", start: int, most: int) -> int:
        """Write what comes from `start` on; give the length of the file."""
        done = start
        with self._output(start) as output:
            while done <= most and (piece := answer.read1(_PIECE_BYTES)):
                self._append(output, piece)
                done += len(piece)
                self.progress(done)
            try:
                os.fsync(output.fileno())  # a file system may find only now that it is full
            except OSError as error:
                raise cache_error(self.part, error) from error
        if done > most:
            self.part.unlink(missing_ok=True)
            raise _Elsewhere(f"more than {most} bytes came")
        return done

    def _output(self, start: int) -> FileIO:
        """Open the part where the next byte goes; not buffered, so that a full disk is seen where it is met."""
        try:
            output = self.part.open("r+b" if start else "wb", buffering=0)
            output.seek(start)
        except OSError as error:
            raise cache_error(self.part, error) from error
        return output

    def _append(self, output: FileIO, piece: bytes) -> None:
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[output.write(rest) :]
        except OSError as error:
            raise cache_error(self.part, error) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but from an encrypted address to no plain one."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.HTTPError(req.full_url, code, "leads to an address without encryption", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Make what speaks HTTP and nothing else: no local files, no FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _unreachable(reason: str | BaseException) -> Exception:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return _Elsewhere(f"its certificate is not trusted: {reason.verify_message}; name yours with SSL_CERT_FILE")
    if isinstance(reason, BaseException):
        return _TryAgain(_words(reason))
    return _Elsewhere(str(reason))


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.IncompleteRead):
        return "the line broke"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split()).lower() or type(error).__name__


def _length(headers: Message) -> int | None:
    text = headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _start(headers: Message) -> int:
    """Give the first byte of `Content-Range: bytes FIRST-LAST/TOTAL`; -1 if it is none."""
    found = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _total(headers: Message) -> int | None:
    found = re.search(r"/(\d+)$", headers.get("Content-Range", "") if headers else "")
    return int(found[1]) if found else None
