"""Notifications by e-mail, where SMTP is set up: to people who have an address, once each."""

from __future__ import annotations

import smtplib
import threading
from datetime import timedelta
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from orfila.db import Database, now
from orfila.identity.models import User
from orfila.identity.service import base_url
from orfila.settings import Settings
from orfila.talk.models import Notification

EVERY_SECONDS = 5.0
AFTER_FAILURE_SECONDS = 60.0
TOO_OLD = timedelta(days=1)
"""A notification that could not be sent for so long is in the application only."""
TIMEOUT_SECONDS = 20.0
_AT_ONCE = 20
_SUBJECTS = {"mention": "{actor} mentions you", "assignment": "{actor} asks you to judge"}
_log = structlog.get_logger("orfila.mail")


def run(settings: Settings, stop: threading.Event) -> None:
    """Send until told to stop. Any number may run."""
    database = Database(settings.resolved_database_url)
    pause = EVERY_SECONDS
    while not stop.wait(pause):
        try:
            send_due(database, settings)
            pause = EVERY_SECONDS
        except (smtplib.SMTPException, OSError) as error:
            _log.warning("the mail server did not take a message; trying again", error=str(error))
            pause = AFTER_FAILURE_SECONDS
        except Exception:
            _log.exception("this round failed; trying again")
            pause = AFTER_FAILURE_SECONDS
    database.dispose()


def send_due(database: Database, settings: Settings) -> int:
    """Send what was not sent yet; how many. What a failure leaves is sent later. Raises SMTPException and OSError."""
    with database.transaction() as session:
        claimed = _claim(session)
    if not claimed:
        return 0
    sent: set[int] = set()
    try:
        with _connect(settings) as server:
            for row, address in claimed:
                server.send_message(_message(settings, row, address))
                sent.add(row.id)
    finally:
        left = [row.id for row, _ in claimed if row.id not in sent]
        if left:
            with database.transaction() as session:
                session.execute(update(Notification).where(Notification.id.in_(left)).values(mailed_at=None))
    return len(sent)


def _claim(session: Session) -> list[tuple[Notification, str]]:
    due = (
        select(Notification.id)
        .join(User, User.id == Notification.user_id)
        .where(
            Notification.mailed_at.is_(None),
            Notification.at > now() - TOO_OLD,
            User.email.is_not(None),
            User.disabled_at.is_(None),
        )
        .order_by(Notification.id)
        .limit(_AT_ONCE)
    )
    taken = session.scalars(
        update(Notification)
        .where(Notification.id.in_(list(session.scalars(due))), Notification.mailed_at.is_(None))
        .values(mailed_at=now())
        .returning(Notification.id)
        .execution_options(synchronize_session=False)
    ).all()
    query = select(Notification, User.email).join(User, User.id == Notification.user_id)
    found = session.execute(query.where(Notification.id.in_(taken)).order_by(Notification.id))
    rows = [(row, address) for row, address in found if address is not None]
    session.expunge_all()
    return rows


def _message(settings: Settings, row: Notification, address: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = settings.mail_from
    message["To"] = address
    # A line break in a name would begin another header.
    message["Subject"] = " ".join(f"Orfila: {_SUBJECTS[row.kind].format(actor=row.actor)}".split())
    message.set_content(f"{row.text}\n\n{base_url(settings)}{row.path}\n")
    return message


def _connect(settings: Settings) -> smtplib.SMTP:
    """A connection to smtp://USER:PASSWORD@HOST:PORT (STARTTLS where the server has it) or smtps://..."""
    assert settings.smtp_url is not None, "only called where it is set"
    parts = urlsplit(settings.smtp_url.get_secret_value())
    host = parts.hostname or "localhost"
    server: smtplib.SMTP
    if parts.scheme == "smtps":
        server = smtplib.SMTP_SSL(host, parts.port or 465, timeout=TIMEOUT_SECONDS)
    else:
        server = smtplib.SMTP(host, parts.port or 25, timeout=TIMEOUT_SECONDS)
        server.ehlo()
        if server.has_extn("starttls"):
            server.starttls()
    if parts.username:
        server.login(unquote(parts.username), unquote(parts.password or ""))
    return server
