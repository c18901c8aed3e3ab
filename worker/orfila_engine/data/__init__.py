"""Data sets: safe reading of archives, decoding of pictures, and the packed form that everything else works on.

No module here imports torch: ingest runs them in a small sandboxed process.
"""

from orfila_engine.data.archives import DataError
from orfila_engine.data.pack import PackedDataset, pack, resolve

__all__ = ["DataError", "PackedDataset", "pack", "resolve"]
