"""Bodies of projects (team spaces)."""

from pydantic import Field

from orfila.schema_base import Request, Response, Timestamp


class ProjectCreate(Request):
    """A new project."""

    name: str = Field(min_length=1, max_length=80)


class Project(Response):
    """A team space that owns data sets, models and cases."""

    id: str
    name: str
    created_at: Timestamp
    n_datasets: int = 0
    n_models: int = 0
    n_cases: int = 0
    n_drills: int = 0
    n_sweeps: int = 0


class Amendment(Request):
    """Renames a data set or model, or preserves it as evidence and lifts that."""

    name: str | None = Field(None, min_length=1, max_length=120)
    preserved: bool | None = None
