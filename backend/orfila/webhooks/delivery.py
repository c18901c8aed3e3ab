"""Sending deliveries: resolved once, to a public address, following nothing, signed, again after a failure."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import socket
import threading
import time
from urllib.parse import urlsplit

import httpx
import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from orfila import __version__
from orfila.db import Database, now
from orfila.jobs.leases import db_epoch
from orfila.settings import Settings
from orfila.webhooks import service
from orfila.webhooks.models import Delivery, Webhook

MAX_ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 10.0
"""Before the second attempt; each later pause is four times as long, so that all take fifteen hours."""
TIMEOUT_SECONDS = 10.0
_CLAIM_SECONDS = 60.0
"""A sender that dies leaves its delivery to others after this."""
_AT_ONCE = 20
_log = structlog.get_logger("orfila.webhooks")


class Refused(Exception):
    """An address that nothing is sent to."""


def run(settings: Settings, stop: threading.Event) -> None:
    """Collect and send until told to stop. Any number may run."""
    database = Database(settings.resolved_database_url)
    while not stop.wait(settings.sweep_seconds):
        try:
            with database.reading() as session:
                idle = session.scalar(select(Webhook.id).limit(1)) is None
            if idle:
                continue
            with database.transaction() as session:
                service.collect(session)
            send_due(database, settings)
        except Exception:
            _log.exception("this round failed; trying again")
    database.dispose()


def send_due(database: Database, settings: Settings) -> int:
    """Send what is due; how many deliveries were tried."""
    with database.transaction() as session:
        claimed = _claim(session)
    for delivery_id, url, secret, event, body in claimed:
        status, error = _send(url, secret, delivery_id, event, body, allow_private=settings.webhooks_to_private)
        with database.transaction() as session:
            _note(session, delivery_id, status, error)
    return len(claimed)


def signature(secret: str, seconds: int, body: bytes) -> str:
    """The header that proves who sent a body, and when."""
    digest = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def public_address(host: str, port: int) -> str:
    """One address of a host, all of which must be public. Raises Refused."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise Refused(f"the host '{host}' has no address") from error
    for address in found:
        if not ipaddress.ip_address(address.partition("%")[0]).is_global:
            raise Refused(f"'{host}' is an address of a private network")
    return sorted(found)[0]


def _claim(session: Session) -> list[tuple[int, str, str, str, bytes]]:
    due = (
        select(Delivery.id)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .where(Delivery.state == "pending", Delivery.due_at <= db_epoch(), Webhook.active)
        .order_by(Delivery.id)
        .limit(_AT_ONCE)
    )
    taken = session.scalars(
        update(Delivery)
        .where(Delivery.id.in_(list(session.scalars(due))), Delivery.due_at <= db_epoch())
        .values(due_at=db_epoch() + _CLAIM_SECONDS, attempts=Delivery.attempts + 1)
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    ).all()
    query = select(Delivery, Webhook).join(Webhook, Webhook.id == Delivery.webhook_id).where(Delivery.id.in_(taken))
    return [
        (each.id, hook.url, hook.secret, each.event, json.dumps({"id": each.id, **each.payload}).encode())
        for each, hook in session.execute(query.order_by(Delivery.id))
    ]


def _send(
    url: str, secret: str, delivery_id: int, event: str, body: bytes, *, allow_private: bool
) -> tuple[int | None, str | None]:
    """Status and error of one attempt; no error: it was accepted."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    seconds = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"orfila/{__version__}",
        "X-Orfila-Event": event,
        "X-Orfila-Delivery": str(delivery_id),
        "X-Orfila-Signature": signature(secret, seconds, body),
        "Host": parts.netloc,
    }
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        # What was looked up is what is connected to: a name that answers otherwise the second time changes nothing.
        address = host if allow_private else public_address(host, port)
        target = httpx.URL(url).copy_with(host=address)
        with httpx.Client(trust_env=False, follow_redirects=False, timeout=TIMEOUT_SECONDS) as client:
            request = client.build_request(
                "POST", target, content=body, headers=headers, extensions={"sni_hostname": host}
            )
            answer = client.send(request, stream=True)
            answer.close()  # what they say beside the status is not read
    except (Refused, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return None, str(error)[:300] or type(error).__name__
    if answer.is_success:
        return answer.status_code, None
    return answer.status_code, f"answered {answer.status_code}"


def _note(session: Session, delivery_id: int, status: int | None, error: str | None) -> None:
    row = session.get(Delivery, delivery_id)
    if row is None:  # its webhook was deleted meanwhile
        return
    row.status, row.error = status, error
    if error is None:
        row.state, row.ended_at = "delivered", now()
    elif row.attempts >= MAX_ATTEMPTS:
        row.state, row.ended_at = "failed", now()
        _log.warning("a webhook did not take a delivery", delivery=row.id, webhook=row.webhook_id, error=error)
    else:
        pause = FIRST_PAUSE_SECONDS * 4 ** (row.attempts - 1)
        row.due_at = (session.scalar(select(db_epoch())) or 0.0) + pause
