"""
Cross-origin requests: which web pages of other sites may use the API (the CORS protocol of the Fetch standard).

A browser asks before it sends a page's request (a preflight: OPTIONS, without credentials), and afterwards looks
into the answer whether the page may see it. Programs that are no browsers take no notice.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from attrs import frozen
from oslo_config import cfg

from glance_tx.settings import Section, option
from glance_tx.settings.values import Described
from glance_tx.web.request import Request

__all__ = ["Cors", "CorsSettings", "Origin"]

_ANY: Final = "*"
_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.IGNORECASE)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# Every page may send these without asking (as oslo.middleware has it, and a little more than browsers do).
_SIMPLE_METHODS: Final = frozenset({"GET", "HEAD", "POST"})
_SIMPLE_HEADERS: Final = frozenset(
    {
        "accept",
        "accept-language",
        "cache-control",
        "content-language",
        "content-type",
        "expires",
        "last-modified",
        "pragma",
    }
)


class Origin(Described):
    """
    Where a page comes from, as a browser says it.
    """

    description = "scheme://host or scheme://host:port of http or https, or an asterisk for any"

    def __call__(self, value: object) -> str:
        """
        Check text, and write it as browsers do.
        """
        text = str(value).strip()
        if text != _ANY and _ORIGIN.fullmatch(text) is None:
            raise ValueError("not an origin")
        return text.lower()


class _Token(Described):
    """
    A method, or the name of a header.
    """

    description = "a name without spaces"

    def __call__(self, value: object) -> str:
        """
        Check text.
        """
        text = str(value).strip()
        if _TOKEN.fullmatch(text) is None:
            raise ValueError("not a name")
        return text


@frozen(kw_only=True)
class CorsSettings(Section):
    """
    Web pages of other sites that may use the API.
    """

    GROUP: ClassVar[str] = "cors"

    allowed_origin: tuple[str, ...] | None = option(
        cfg.ListOpt(
            "allowed_origin",
            item_type=Origin(),
            help="Sites whose pages may use the API, such as https://dashboard.example.com; an asterisk for all of "
            "them. None by default: then no answer has a header about it, and OPTIONS is a wrong method.",
        )
    )
    allow_credentials: bool = option(
        cfg.BoolOpt(
            "allow_credentials",
            default=True,
            help="Whether such pages may have the browser add what it keeps for this site (cookies, certificates). "
            "Tokens in X-Auth-Token are no such thing. Without effect where all sites are allowed.",
        )
    )
    expose_headers: tuple[str, ...] = option(
        cfg.ListOpt(
            "expose_headers",
            item_type=_Token(),
            default=[
                "X-Image-Meta-Checksum",
                "X-Auth-Token",
                "X-Subject-Token",
                "X-Service-Token",
                "X-OpenStack-Request-ID",
            ],
            help="Headers of answers that such pages may read, besides those that any page may. Stock's default.",
        )
    )
    max_age_seconds: int = option(
        cfg.IntOpt(
            "max_age",
            min=0,
            max=86400,
            default=3600,
            help="Seconds for which a browser may remember what it was allowed. Stock's default; browsers have limits "
            "of their own.",
        )
    )
    allow_methods: tuple[str, ...] = option(
        cfg.ListOpt(
            "allow_methods",
            item_type=_Token(),
            default=["GET", "PUT", "POST", "DELETE", "PATCH"],
            help="Methods that such pages may use: those of the API. GET, HEAD and POST always are among them.",
        )
    )
    allow_headers: tuple[str, ...] = option(
        cfg.ListOpt(
            "allow_headers",
            item_type=_Token(),
            default=[
                "Content-MD5",
                "X-Image-Meta-Checksum",
                "X-Storage-Token",
                "Accept-Encoding",
                "X-Auth-Token",
                "X-Identity-Status",
                "X-Roles",
                "X-Service-Catalog",
                "X-User-Id",
                "X-Tenant-Id",
                "X-OpenStack-Request-ID",
            ],
            help="Headers that such pages may send, besides those that any page may. Stock's default; identity "
            "headers among them are not believed any more than from others.",
        )
    )


Lines = tuple[tuple[str, str], ...]


class Cors:
    """
    Answers preflights, and marks answers for the pages that may see them.

    :param settings: At least one origin is allowed by them.
    """

    def __init__(self, settings: CorsSettings) -> None:
        self._origins = frozenset(settings.allowed_origin or ())
        self._any = _ANY in self._origins
        self._credentials = settings.allow_credentials and not self._any
        self._exposed = ", ".join(settings.expose_headers)
        self._max_age = str(settings.max_age_seconds)
        self._methods = _SIMPLE_METHODS | set(settings.allow_methods)
        self._headers = _SIMPLE_HEADERS | {name.lower() for name in settings.allow_headers}
        self._allowed_methods = ", ".join(sorted(self._methods))

    @classmethod
    def of(cls, settings: CorsSettings) -> Cors | None:
        """
        Make one where an origin is allowed.
        """
        return cls(settings) if settings.allowed_origin else None

    def is_preflight(self, request: Request) -> bool:
        """
        Tell whether a browser asks what one of the allowed pages may do: such a request wants an empty answer, and
        `mark` makes it say what is to be said. What is asked for other pages, routes answer.
        """
        asks = request.method == b"OPTIONS" and request.header("Access-Control-Request-Method") is not None
        return asks and self._permission(request) is not None

    def mark(self, request: Request, lines: Lines) -> Lines:
        """
        Say in the head of an answer what the page that asked may do, and see of it.

        What another server said about that, in an answer that is passed on, does not hold here.

        :param lines: The answer's own headers.
        """
        kept = tuple(line for line in lines if not line[0].lower().startswith("access-control-"))
        permission = self._permission(request)
        if permission is not None:
            kept += self._leave(request, permission) if self.is_preflight(request) else self._view(permission)
        # Answers differ by Origin, unless they are the same for all of them.
        return kept if self._any or _varies_by_origin(kept) else (*kept, ("Vary", "Origin"))

    def _view(self, permission: str) -> Lines:
        exposed = (("Access-Control-Expose-Headers", self._exposed),) if self._exposed else ()
        return (*self._origin(permission), *exposed)

    def _leave(self, request: Request, permission: str) -> Lines:
        method = request.header("Access-Control-Request-Method")
        wanted = (request.header("Access-Control-Request-Headers") or "").split(",")
        names = [name.strip() for name in wanted if name.strip()]
        if method not in self._methods or not {name.lower() for name in names} <= self._headers:
            return ()
        allowed = (("Access-Control-Allow-Headers", ", ".join(names)),) if names else ()
        return (
            *self._origin(permission),
            ("Access-Control-Max-Age", self._max_age),
            ("Access-Control-Allow-Methods", self._allowed_methods),
            *allowed,
        )

    def _origin(self, permission: str) -> Lines:
        credentials = (("Access-Control-Allow-Credentials", "true"),) if self._credentials else ()
        return (("Access-Control-Allow-Origin", permission), *credentials)

    def _permission(self, request: Request) -> str | None:
        origin = request.header("Origin")
        if origin is None:
            return None
        if self._any:
            return _ANY
        return origin if origin in self._origins else None


def _varies_by_origin(lines: Lines) -> bool:
    named = {name.strip().lower() for key, value in lines if key.lower() == "vary" for name in value.split(",")}
    return bool(named & {"origin", "*"})
