"""Who may use a viewer: requests are judged by their Host, their Origin and, if there is one, the viewer's token.

A page of another site that is open in a browser on the same machine can reach every address that the machine can. Its
requests carry its own Origin, and where it has its own name resolve to this machine (DNS rebinding), that name as Host.
"""

import hmac
import ipaddress
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from ds4d.viewer.addresses import is_local

_MAX_TARGET = 2048  # characters of path and query


@dataclass(frozen=True)
class AccessRules:
    """The rules of one viewer.

    Attributes:
        host: name or address that the viewer listens on.
        port: its port; cookies of a host are shared by all its ports.
        token: secret that the address must contain when the page is opened; None for none.
    """

    host: str
    port: int
    token: str | None = None

    def refusal(
        self, target: str, *, hosts: Sequence[str], origins: Sequence[str], cookies: Sequence[str]
    ) -> str | None:
        """Why a request is refused, in one sentence for the visitor; None if it is not.

        Args:
            target: path and query that are requested.
            hosts: all Host headers of the request.
            origins: all Origin headers; none for programs that are not browsers.
            cookies: all Cookie headers.
        """
        if len(target) > _MAX_TARGET:
            return f"The address must have at most {_MAX_TARGET} characters."
        name = _host_name(hosts[0]) if len(hosts) == 1 else None
        if name is None or not (_is_address(name) or name in self._names):
            return "The viewer must be opened by the address that ds4d prints, or by the IP address of its machine."
        if origins and (len(origins) > 1 or not _is_origin_of(origins[0], hosts[0])):
            return "The viewer must be opened as a page of its own, not from another page."
        if self.token is not None and not (self.has_token(target) or self._is_known(cookies)):
            return "The address must contain the token that ds4d prints: http://HOST:PORT/?token=TOKEN"
        return None

    def has_token(self, target: str) -> bool:
        """Whether the query of a request holds the token."""
        given = parse_qs(urlsplit(target).query).get("token", [])
        return self.token is not None and any(_is_same(value, self.token) for value in given)

    @property
    def cookie(self) -> str:
        """The Set-Cookie header by which the browser shows the token with its next requests."""
        return f"{self._cookie_name}={self.token}; Path=/; HttpOnly; SameSite=Strict"

    @property
    def _cookie_name(self) -> str:
        return f"ds4d-viewer-{self.port}"

    @property
    def _names(self) -> set[str]:
        """The names by which the viewer may be addressed; a name that somebody else can choose is none of them."""
        names = {"localhost", self.host.lower()}
        if not is_local(self.host):
            node = platform.node().lower()
            short = node.partition(".")[0]
            names |= {node, short, f"{short}.local"}
        return names - {"", ".local"}

    def _is_known(self, cookies: Sequence[str]) -> bool:
        pairs = (pair.strip().partition("=") for line in cookies for pair in line.split(";"))
        return any(name == self._cookie_name and _is_same(value, self.token or "") for name, _, value in pairs)


def _host_name(host: str) -> str | None:
    """The name or address in a Host header, in lower case; None if it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises if it is no number
    except ValueError:
        return None
    if parts.username is not None or parts.path or parts.query or parts.fragment or not parts.hostname:
        return None
    return parts.hostname.removesuffix(".")


def _is_address(name: str) -> bool:
    """Whether a host is a numeric address, which nobody can make lead elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_origin_of(origin: str, host: str) -> bool:
    """Whether an Origin is the page at a Host; a proxy may have taken TLS off."""
    scheme, separator, rest = origin.lower().partition("://")
    return scheme in ("http", "https") and bool(separator) and rest == host.lower()


def _is_same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), secret.encode())
