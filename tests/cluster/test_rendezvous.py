"""Laws of the rendezvous: all go on together, or each says which process is missing or is another version."""

import socket
import threading
import time

import pytest

from tfvoice.cluster import rendezvous
from tfvoice.cluster.place import Place
from tfvoice.errors import TfvoiceError


@pytest.fixture
def addresses():
    """Of three processes; the ports are free."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return tuple(f"127.0.0.1:{port + number}" for number in range(3))


def met(addresses, numbers, seconds=20.0, versions=None):
    """What `meet` raises in each of these processes, as threads: an error's text, or None."""
    results = {}

    def run(number):
        try:
            rendezvous.meet(Place(number, addresses), seconds, (versions or {}).get(number, "1"))
            results[number] = None
        except TfvoiceError as error:
            results[number] = str(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_all_go_on_and_the_port_is_free_again(addresses):
    assert met(addresses, (2, 0, 1)) == {0: None, 1: None, 2: None}
    assert met(addresses, (0, 1, 2)) == {0: None, 1: None, 2: None}


def test_who_is_missing_is_named_to_all(addresses):
    sentence = f"worker 1 ({addresses[1]}) did not join within 0.5 s."
    assert met(addresses, (0, 2), 0.5) == {0: sentence, 2: sentence}


def test_a_missing_chief_is_named(addresses, monkeypatch):
    monkeypatch.setattr(rendezvous, "_GRACE_SECONDS", 0.1)
    assert met(addresses, (1,), 0.3) == {1: f"worker 0 ({addresses[0]}) did not join within 0.3 s."}


def test_another_version_is_refused(addresses):
    results = met(addresses, (0, 1, 2), versions={1: "2"})
    assert results[0] == results[1] == results[2] == f"worker 1 ({addresses[1]}) has 2, and the chief 1."


def test_what_else_connects_does_not_count(addresses):
    host, _, port = addresses[0].partition(":")

    def disturb():
        for content in (b"", b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b'{"index": 7, "version": "1"}\n', b"\xff\n"):
            for _ in range(100):
                try:
                    with socket.create_connection((host, int(port)), 1) as connection:
                        connection.sendall(content)
                    break
                except OSError:
                    time.sleep(0.02)

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    chief = threading.Thread(target=lambda: results.update(met(addresses, (0,))))
    results = {}
    chief.start()
    disturbing.join(30)
    assert met(addresses, (1, 2)) == {1: None, 2: None}
    chief.join(30)
    assert results == {0: None}


def test_a_process_waits_where_something_else_has_the_address_of_the_chief(addresses):
    host, _, port = addresses[0].partition(":")
    with socket.create_server((host, int(port))) as server:
        server.settimeout(10)
        other = threading.Thread(target=lambda: server.accept()[0].close())
        other.start()
        waiting, results = threading.Thread(target=lambda: results.update(met(addresses, (1, 2)))), {}
        waiting.start()
        other.join()
    assert met(addresses, (0,)) == {0: None}
    waiting.join(30)
    assert results == {1: None, 2: None}


def test_a_port_that_is_in_use_is_named(addresses):
    with socket.create_server(("", int(addresses[0].rpartition(":")[2]))):
        assert "the address of the chief, cannot be used" in met(addresses, (0,), 1.0)[0]
