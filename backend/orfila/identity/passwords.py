"""Passwords: argon2id (RFC 9106), as the winner of the Password Hashing Competition is recommended for new systems."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from orfila.errors import Unprocessable

MIN_LENGTH, MAX_LENGTH = 12, 256
_hasher = PasswordHasher()
_NOBODY = _hasher.hash("a password that nobody has")


def make_hash(password: str, name: str) -> str:
    """What is kept of a password. Raises Unprocessable for one that is easy to guess.

    name: of its user, which it must not contain.
    """
    if len(password) < MIN_LENGTH:
        raise Unprocessable(
            f"The password has {len(password)} characters; use {MIN_LENGTH} or more.", code="weak_password"
        )
    if name.casefold() in password.casefold() or len(set(password)) < 5:
        raise Unprocessable(
            "The password is easy to guess; use several words that belong to nobody.", code="weak_password"
        )
    return _hasher.hash(password)


def matches(kept: str | None, password: str) -> bool:
    """Whether a password is the kept one. It takes as long where nothing is kept, so that names cannot be told."""
    try:
        return _hasher.verify(kept or _NOBODY, password) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


def make_hash_again(password: str) -> str:
    """A new hash of a password that is known to be the right one."""
    return _hasher.hash(password)


def needs_new_hash(kept: str) -> bool:
    """Whether it was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(kept)
