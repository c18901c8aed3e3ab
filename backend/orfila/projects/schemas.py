"""Bodies of projects (team spaces)."""

from typing import Literal

from pydantic import Field

from orfila.schema_base import Request, Response, Timestamp

Role = Literal["owner", "analyst", "reviewer", "viewer"]


class ProjectCreate(Request):
    """A new project."""

    name: str = Field(min_length=1, max_length=80)


class Project(Response):
    """A team space that owns data sets, models and cases."""

    id: str
    name: str
    created_at: Timestamp
    role: Role | None = Field(None, description="One's own; null for an administrator who does not belong to it.")
    n_datasets: int = 0
    n_models: int = 0
    n_cases: int = 0
    n_drills: int = 0
    n_sweeps: int = 0


class Member(Response):
    """A person in a project."""

    user_id: str
    name: str
    email: str | None
    role: Role
    disabled: bool


class MemberAdd(Request):
    """Lets a person who has an account into a project."""

    name: str = Field(min_length=1, max_length=120, description="As the account is called.")
    role: Role


class MemberChange(Request):
    """Another role."""

    role: Role


class Amendment(Request):
    """Renames a data set or model, or preserves it as evidence and lifts that."""

    name: str | None = Field(None, min_length=1, max_length=120)
    preserved: bool | None = None
