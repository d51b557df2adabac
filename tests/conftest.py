"""What every test runs under: one thread, no network but this machine, no colour, a fixed width."""

import os
import signal
import socket

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the program has it; read when torch is loaded

import pytest
import torch

# Ignored where a shell started the tests in the background; the programs they start would inherit that.
for name, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    number = getattr(signal, name, None)  # some systems have no SIGHUP
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def exact_small_numbers():
    """Undo what the program does to a process of its own: hypothesis needs numbers near zero to stay."""
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def quiet_surroundings(monkeypatch):
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "PYTHONWARNINGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("MSS_CLI_THREADS", "1")
    connect = socket.socket.connect

    def only_here(self, address):
        host = address[0] if isinstance(address, tuple) else "unix"
        if host not in ("127.0.0.1", "::1", "localhost", "unix"):
            raise AssertionError(f"a test wants to reach {host}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_here)
