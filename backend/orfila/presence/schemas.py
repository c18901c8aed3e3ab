"""Bodies of presence."""

from pydantic import Field

from orfila.schema_base import Response


class Presence(Response):
    """Who looks at a case right now."""

    others: list[str] = Field(description="Names, without one's own.")
    again_in_seconds: float = Field(description="Say that you are there again within this time.")
