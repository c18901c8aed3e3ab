"""Files of the product: one store of content-addressed blobs for each installation."""

from functools import lru_cache
from pathlib import Path

from orfila.settings import Settings
from orfila.storage.base import BlobStore, Stored, Tree, hash_file
from orfila.storage.local import LocalStore
from orfila.storage.partial import LocalPartialFiles, PartialFiles, Segment, Sink

__all__ = [
    "BlobStore",
    "PartialFiles",
    "Segment",
    "Sink",
    "Stored",
    "Tree",
    "get_partial_files",
    "get_store",
    "hash_file",
]


def get_store(settings: Settings) -> BlobStore:
    """The store of an installation: its bucket where one is set, else the folder of its data.

    Raises ValueError for an address that is none, or where boto3 is not installed.
    """
    if settings.storage_url is None:
        return _local(settings.data_dir.resolve() / "blobs")
    cache = settings.data_dir.resolve() / "cache"
    return _s3(settings.storage_url, cache, settings.s3_endpoint_url, settings.storage_cache_bytes)


def get_partial_files(settings: Settings) -> PartialFiles:
    """Where an installation keeps uploads that are not finished: beside its store."""
    store = get_store(settings)
    if isinstance(store, LocalStore):
        return LocalPartialFiles(settings.data_dir.resolve() / "uploads", store)
    from orfila.storage.s3 import S3Store
    from orfila.storage.s3_partial import S3PartialFiles

    assert isinstance(store, S3Store), "there are two kinds of stores"
    return S3PartialFiles(store)


@lru_cache(maxsize=8)
def _s3(url: str, cache: Path, endpoint: str | None, cache_bytes: int) -> BlobStore:
    try:
        from orfila.storage.s3 import S3Store
    except ModuleNotFoundError as error:
        raise ValueError(
            'ORFILA_STORAGE_URL needs boto3, which is not installed here: pip install "orfila[s3]"'
        ) from error
    return S3Store(url, cache, endpoint=endpoint, cache_bytes=cache_bytes)


@lru_cache(maxsize=8)
def _local(root: Path) -> LocalStore:
    return LocalStore(root)
