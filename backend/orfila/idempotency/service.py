"""Idempotency-Key: a request that is sent again, because its answer was lost, gets the first answer again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from pydantic import BaseModel
from sqlalchemy import delete
from sqlalchemy.orm import Session

from orfila.db import now
from orfila.errors import Unprocessable
from orfila.idempotency.models import KeptAnswer
from orfila.identity.subject import Subject

KEEP = timedelta(days=2)
Answer = TypeVar("Answer", bound=BaseModel)


def once(
    session: Session,
    subject: Subject,
    key: str | None,
    operation: str,
    body: BaseModel | None,
    kind: type[Answer],
    act: Callable[[], Answer],
) -> Answer:
    """Run `act` unless this subject did so under this key before; then give the answer that was given.

    operation: names the request together with its address, e.g. "create_case/<project id>". Without a key, `act` runs.
    Raises Unprocessable when the key belongs to another request.
    """
    if key is None:
        return act()
    content = "" if body is None else body.model_dump_json()
    digest = hashlib.sha256(f"{operation}\n{content}".encode()).hexdigest()
    kept = session.get(KeptAnswer, (subject.user_id, key))
    if kept is not None and kept.at > now() - KEEP:
        if kept.request_digest != digest:
            raise Unprocessable(
                "This Idempotency-Key was used for another request; send a new key.", code="idempotency_key_reused"
            )
        return kind.model_validate(kept.answer)
    session.execute(delete(KeptAnswer).where(KeptAnswer.at <= now() - KEEP))
    answer = act()
    session.add(
        KeptAnswer(user_id=subject.user_id, key=key, request_digest=digest, answer=answer.model_dump(mode="json"))
    )
    return answer
