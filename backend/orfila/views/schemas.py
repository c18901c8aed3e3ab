"""Bodies of saved views."""

from typing import Annotated

from pydantic import Field

from orfila.schema_base import Request, Response, Timestamp

Value = Annotated[str, Field(max_length=40)] | int | float


class ViewSave(Request):
    """Keeps a view under a name; one's own view of that name is replaced."""

    name: str = Field(min_length=1, max_length=80)
    view: dict[Annotated[str, Field(max_length=20)], Value] = Field(
        max_length=20, description="Parameters of the address of a case's evidence, without those of one image."
    )
    is_shared: bool = Field(False, description="Whether the other members of the project see it.")


class SavedView(Response):
    """A way to look at the evidence of any case of a project."""

    id: str
    name: str
    view: dict[str, str | int | float]
    is_shared: bool
    is_mine: bool
    created_by: str
    created_at: Timestamp
