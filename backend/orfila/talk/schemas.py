"""Bodies of comments and notifications."""

from typing import Literal

from pydantic import Field

from orfila.schema_base import Request, Response, Timestamp

NotificationKind = Literal["mention", "assignment", "regression"]


class CommentCreate(Request):
    """Says something of a case, or of one of its training images."""

    text: str = Field(min_length=1, max_length=4_000, description="Plain text; @NAME tells a member of the project.")
    index: int | None = Field(None, ge=0, description="`index` of the training image; null: of the case as a whole.")


class CommentChange(Request):
    """Another wording."""

    text: str = Field(min_length=1, max_length=4_000)


class Comment(Response):
    """A comment."""

    id: str
    case_id: str
    index: int | None
    author: str
    text: str
    mentions: list[str] = Field(description="Names of the members whom it mentions.")
    at: Timestamp
    edited_at: Timestamp | None
    is_mine: bool


class Notification(Response):
    """Something that one should know of."""

    id: int
    kind: NotificationKind
    project_id: str
    case_id: str
    actor: str
    text: str
    path: str = Field(description="Where in the browser interface it is about.")
    at: Timestamp
    read: bool


class Notifications(Response):
    """One's notifications, the newest first."""

    n_unread: int
    items: list[Notification] = Field(description="The last hundred.")


class MarkRead(Request):
    """Which notifications one has read."""

    up_to: int = Field(ge=0, description="The `id` of the newest one that was seen; older ones are read as well.")
