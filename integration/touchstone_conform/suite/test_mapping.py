"""Bytes 0x61-0x7A come back decreased by 0x20, all others unchanged."""

import os
import shutil
import subprocess

import pytest

from touchstone_conform import marks
from touchstone_conform.harness.samples import sample
from touchstone_conform.harness.skips import SkipReason
from touchstone_conform.transform import ALL_BYTES


@marks.foundation("bytes")
@marks.wire
def test_every_byte(server):
    """Each of the 256 bytes comes back: 0x61-0x7A decreased by 0x20, all others unchanged."""
    with server.connect() as client:
        client.ping(ALL_BYTES)


@marks.foundation("stream")
@marks.wire
def test_a_mebibyte_of_random_bytes(server):
    """A long stream comes back in order, exactly once."""
    with server.connect() as client:
        client.exchange(sample(1 << 20))
        client.expect_quiet(0)


@marks.requirement("ECHO-3")
@marks.wire
def test_the_same_again(server):
    """The same data sent again is answered again."""
    with server.connect() as client:
        for _ in range(3):
            client.ping(sample(1000))


@marks.requirement("ECHO-1")
@marks.wire
def test_utf8_split_between_segments(server):
    """UTF-8 text is mapped as bytes, wherever it is split."""
    text = "\ufeffaß é ﬁ ıİ ǆ 漢 😀z".encode()
    with server.connect() as client:
        for cut in range(1, len(text)):
            client.ping(text[:cut])
            client.ping(text[cut:])


@marks.requirement("ECHO-1")
@marks.wire
def test_invalid_utf8(server):
    """Bytes that are not valid UTF-8 come back unchanged."""
    with server.connect() as client:
        for data in (b"\xff\xfe", b"a\x80z", b"\xc0\xafq", b"\xed\xa0\x80x", b"\xf4\x90\x80\x80y"):
            client.ping(data)


LOCALES = [("tr_TR", "UTF-8"), ("de_DE", "ISO-8859-1")]


@pytest.fixture(scope="session", params=LOCALES, ids="-".join)
def locale_environment(request, tmp_path_factory):
    """That of a locale in which the capital of i is not I, or 0xC4 is that of 0xE4."""
    language, charset = request.param
    localedef = shutil.which("localedef")
    if localedef is None:
        raise SkipReason("tool", "localedef")
    directory = tmp_path_factory.mktemp("locale")
    made = subprocess.run(
        [localedef, "-i", language, "-f", charset, str(directory / f"{language}.{charset}")],
        capture_output=True,
        text=True,
    )
    if made.returncode > 1 or not os.listdir(directory):  # 1: warnings only
        raise SkipReason("tool", f"a localedef that has {language} ({made.stderr.strip()[-80:]})")
    return {"LC_ALL": f"{language}.{charset}", "LOCPATH": str(directory)}


@marks.requirement("ECHO-2")
@marks.leans_on("bytes")
@marks.process
def test_locale(start_server, locale_environment):
    """The locale does not change the mapping."""
    server = start_server(environment=locale_environment)
    with server.connect() as client:
        client.ping(ALL_BYTES + "iı İI".encode())
