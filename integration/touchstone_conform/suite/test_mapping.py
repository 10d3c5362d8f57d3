"""Each byte a-z comes back as A-Z; each other byte comes back as it is."""

import os
import shutil
import subprocess

import pytest

from touchstone_conform.missing import Missing
from touchstone_conform.samples import ALL_BYTES, sample


@pytest.mark.requirement("ECHO-1")
@pytest.mark.wire
def test_every_byte(server):
    """Each of the 256 bytes comes back, 0x61-0x7A minus 0x20 and all others unchanged."""
    with server.connect() as client:
        client.exchange(ALL_BYTES, shutdown=True)


@pytest.mark.requirement("ECHO-3")
@pytest.mark.wire
def test_a_mebibyte_of_random_bytes(server):
    """A long stream comes back in order, exactly once."""
    with server.connect() as client:
        client.exchange(sample(1 << 20), shutdown=True)


@pytest.mark.requirement("ECHO-3")
@pytest.mark.wire
def test_the_same_again(server):
    """What is said twice is answered twice."""
    with server.connect() as client:
        for _ in range(3):
            client.ping(sample(1000))


@pytest.mark.requirement("ECHO-1")
@pytest.mark.wire
def test_utf8_split_between_segments(server):
    """Bytes that would be text in some encoding are mapped as bytes, wherever they are cut."""
    text = "\ufeffaß é ﬁ ıİ ǆ 漢 😀z".encode()
    with server.connect() as client:
        for cut in range(1, len(text)):
            client.ping(text[:cut])
            client.ping(text[cut:])


@pytest.mark.requirement("ECHO-1")
@pytest.mark.wire
def test_invalid_utf8(server):
    """Bytes that are no text in any encoding come back unchanged."""
    with server.connect() as client:
        for data in (b"\xff\xfe", b"a\x80z", b"\xc0\xafq", b"\xed\xa0\x80x", b"\xf4\x90\x80\x80y"):
            client.ping(data)


@pytest.fixture(scope="session")
def turkish_locale(tmp_path_factory):
    """The environment of a locale in which the capital of i is not I."""
    localedef = shutil.which("localedef")
    if localedef is None:
        raise Missing("localedef")
    directory = tmp_path_factory.mktemp("locale")
    made = subprocess.run(
        [localedef, "-i", "tr_TR", "-f", "UTF-8", str(directory / "tr_TR.UTF-8")],
        capture_output=True,
        text=True,
    )
    if made.returncode > 1 or not os.listdir(directory):  # 1: warnings only
        raise Missing(f"localedef that knows tr_TR ({made.stderr.strip()[-80:]})")
    return {"LC_ALL": "tr_TR.UTF-8", "LOCPATH": str(directory)}


@pytest.mark.requirement("ECHO-2")
@pytest.mark.process
def test_turkish_locale(start_server, turkish_locale):
    """No locale of the server's surroundings changes the mapping."""
    server = start_server(environment=turkish_locale)
    with server.connect() as client:
        client.exchange(ALL_BYTES + "iı İI".encode(), shutdown=True)
