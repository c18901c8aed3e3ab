"""Files of the product: one store of content-addressed blobs for each installation."""

from functools import lru_cache
from pathlib import Path

from orfila.settings import Settings
from orfila.storage.base import BlobStore, Stored, Tree, hash_file
from orfila.storage.local import LocalStore

__all__ = ["BlobStore", "Stored", "Tree", "get_store", "hash_file"]


def get_store(settings: Settings) -> BlobStore:
    """The store of an installation."""
    return _local(settings.data_dir.resolve() / "blobs")


@lru_cache(maxsize=8)
def _local(root: Path) -> LocalStore:
    return LocalStore(root)
