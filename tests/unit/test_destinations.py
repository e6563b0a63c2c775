"""Where webhooks may go: public addresses only, however they are written."""

import pytest

from shared.web.destinations import is_public, reason_refused

PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "2002:7f00:1::",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111"])
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url", ["https://example.com/hook", "https://example.com:8443/a?b=c", "https://[2606:4700::1]/"]
)
def test_what_may_be_subscribed_with(url: str) -> None:
    assert reason_refused(url, private=False) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "https://example.com:22/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "ftp://example.com/",
        "https:///nowhere",
        "example.com",
        "https://user:secret@example.com/",
        "https://example.com/#here",
        "https://example.com:99999/",
        "https://example.com/a b",
        "https://exämple.com/",
        "https://example.com/" + "a" * 2_000,
        "https://[::1",
    ],
)
def test_what_may_not(url: str) -> None:
    reason = reason_refused(url, private=False)
    assert reason is not None
    assert "secret" not in reason
    assert "127" not in reason


def test_trials_may_stay_at_home_but_nobody_hides_a_password() -> None:
    assert reason_refused("http://127.0.0.1:9000/hook", private=True) is None
    assert reason_refused("http://user:secret@127.0.0.1:9000/", private=True) is not None
    assert reason_refused("file:///etc/passwd", private=True) is not None
