"""Who may use a viewer, by the headers of a request."""

import platform

import pytest

from ds4d.viewer.access import AccessRules

LOCAL, PUBLIC = AccessRules("127.0.0.1", 8080), AccessRules("0.0.0.0", 8080)
SECRET = AccessRules("0.0.0.0", 8080, "s3cret")


def refused(
    rules: AccessRules,
    host: str | None = "localhost:8080",
    origin: str | None = None,
    target: str = "/",
    cookie: str = "",
) -> bool:
    hosts, origins = ([] if value is None else [value] for value in (host, origin))
    return rules.refusal(target, hosts=hosts, origins=origins, cookies=[cookie] if cookie else []) is not None


@pytest.mark.parametrize(
    "host", ["localhost:8080", "LOCALHOST", "127.0.0.1:8080", "[::1]:8080", "192.168.1.5:9000", "localhost.:8080"]
)
def test_names_that_nobody_can_redirect_are_accepted(host: str) -> None:
    """Other ports are those of tunnels."""
    assert not refused(LOCAL, host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example#localhost",
        "evil.example@localhost", "localhost@evil.example", "localhost/evil", "localhost:x", "[::1", "", " ", None,
    ],
)  # fmt: skip
def test_other_names_are_refused(host: str | None) -> None:
    """As they come from a page whose name was made to lead to this machine."""
    assert refused(LOCAL, host) and refused(PUBLIC, host)


def test_several_headers_are_refused() -> None:
    assert LOCAL.refusal("/", hosts=["localhost", "evil.example"], origins=[], cookies=[])
    origins = ["http://localhost", "http://evil.example"]
    assert LOCAL.refusal("/", hosts=["localhost"], origins=origins, cookies=[])


def test_the_name_of_the_machine_is_that_of_a_public_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: "Lab7.example.org")
    for host in ("lab7.example.org:8080", "lab7:8080", "lab7.local:8080"):
        assert not refused(PUBLIC, host) and refused(LOCAL, host)
    assert not refused(AccessRules("gpu.example.org", 8080), "gpu.example.org:8080")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8080", "http://localhost:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("192.168.1.5", "https://192.168.1.5"),
    ],
)
def test_the_page_of_the_viewer_may_connect(host: str, origin: str) -> None:
    assert not refused(LOCAL, host, origin)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "http://localhost:3000", "http://localhost", "http://127.0.0.1:8080", "null", "",
        "file://localhost:8080", "http://localhost:8080.evil.example", "localhost:8080",
    ],
)  # fmt: skip
def test_other_pages_may_not(origin: str) -> None:
    assert refused(LOCAL, "localhost:8080", origin) and refused(PUBLIC, "localhost:8080", origin)


def test_a_token_is_shown_by_the_address_or_by_its_cookie() -> None:
    cookie = SECRET.cookie.partition(";")[0]
    assert not refused(SECRET, target="/?token=s3cret") and not refused(SECRET, cookie=f"other=1; {cookie}")
    assert refused(SECRET) and refused(SECRET, target="/?token=") and refused(SECRET, target="/?token=s3cre")
    assert refused(SECRET, cookie=f"{cookie}x") and refused(SECRET, target="/?token=\u00e9")
    assert "HttpOnly" in SECRET.cookie and "SameSite=Strict" in SECRET.cookie
    assert refused(SECRET, "evil.example", target="/?token=s3cret"), "it replaces no other rule"
    assert not LOCAL.has_token("/?token=") and not LOCAL.has_token("/")


def test_endless_addresses_are_refused() -> None:
    assert refused(LOCAL, target="/" + 6000 * "a")
