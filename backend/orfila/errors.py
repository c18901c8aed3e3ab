"""Errors that a client can act on. Each class has a status and a stable code; the sentence says what to do.

OrfilaError
├── BadRequest 400            malformed, or impossible as asked
├── Unauthenticated 401       nobody is signed in
├── Forbidden 403             signed in, but not allowed
├── NotFound 404              absent, or another's
├── Conflict 409              the state does not allow it now
├── PreconditionFailed 412    another version of a protocol
├── TooLarge 413              over a limit that the sentence names
├── UnsupportedContent 415    a kind of file that is not accepted
├── Unprocessable 422         understood, but the values do not fit together
├── Locked 423                another request is writing it
├── TooManyRequests 429       try again later
├── ChecksumMismatch 460      the bytes that came are not those that were sent (tus)
└── NoSpace 507               the disk or the quota is full
"""


class OrfilaError(Exception):
    """An error with a status, a stable code and a sentence for people."""

    status = 500
    title = "Something went wrong"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self._default_code()

    @classmethod
    def _default_code(cls) -> str:
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in cls.__name__).lstrip("_")


class BadRequest(OrfilaError):
    """Malformed, or impossible as asked."""

    status, title = 400, "The request cannot be carried out"


class Unauthenticated(OrfilaError):
    """Nobody is signed in."""

    status, title = 401, "Sign in first"


class Forbidden(OrfilaError):
    """Signed in, but not allowed."""

    status, title = 403, "Not allowed"


class NotFound(OrfilaError):
    """Absent, or another's: the two are not told apart."""

    status, title = 404, "Not found"


class Conflict(OrfilaError):
    """The state does not allow it now."""

    status, title = 409, "Not possible in this state"


class PreconditionFailed(OrfilaError):
    """Another version of a protocol."""

    status, title = 412, "Unsupported protocol version"


class TooLarge(OrfilaError):
    """Over a limit that the sentence names."""

    status, title = 413, "Too large"


class UnsupportedContent(OrfilaError):
    """A kind of file that is not accepted."""

    status, title = 415, "This kind of file is not accepted"


class Unprocessable(OrfilaError):
    """Understood, but the values do not fit together."""

    status, title = 422, "The values do not fit together"


class Locked(OrfilaError):
    """Another request is writing it."""

    status, title = 423, "Being written by another request"


class TooManyRequests(OrfilaError):
    """Try again later."""

    status, title = 429, "Too many requests"


class ChecksumMismatch(OrfilaError):
    """The bytes that came are not those that were sent."""

    status, title = 460, "Checksum mismatch"


class NoSpace(OrfilaError):
    """The disk or the quota is full."""

    status, title = 507, "No space left"
