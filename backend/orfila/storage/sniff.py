"""What a file is, by its first bytes: names and content types are claims of the sender and decide nothing."""

from __future__ import annotations

import struct
from typing import Literal

from orfila.errors import UnsupportedContent

Purpose = Literal["dataset", "model", "image"]

HEAD_BYTES = 512
"""How many first bytes decide; a tar's magic stands at 257."""

MAX_SAFETENSORS_HEADER = 16 * 2**20

HOW_TO_EXPORT = (
    "Export safetensors instead: `from safetensors.torch import save_file; "
    'save_file(model.state_dict(), "model.safetensors")`.'
)
_CONVERSION = (
    " Whoever runs this server can also have state dicts converted in a sandbox (ORFILA_CONVERT_TORCH_FILES=true)."
)
_HOW_TO_PACK = (
    "Pack one folder for each class into a .zip, .tar, .tar.gz or .tar.zst and upload that, or a .npz or .parquet file."
)

_ZIP = b"PK\x03\x04"
_DATASETS = (_ZIP, b"PK\x05\x06", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1")
"""zip (NPZ is one), gzip and Zstandard (of a tar), Parquet."""
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF87a", b"GIF89a")


def check(head: bytes, size: int, purpose: Purpose, *, torch_files: bool = False) -> None:
    """Refuse a file that is not of a kind that its purpose accepts.

    head: the first HEAD_BYTES bytes, or all of a shorter file. size: bytes of the whole file. torch_files: whether a
    model may be a zip of torch.save, to be converted. Raises UnsupportedContent (415) with what to upload instead.
    """
    if purpose == "model" and torch_files and is_torch_file(head):
        return
    {"dataset": _check_dataset, "model": _check_model, "image": _check_image}[purpose](head, size)


def is_torch_file(head: bytes) -> bool:
    """Whether a model's file may be one of torch.save (which has written zip files since PyTorch 1.6)."""
    return head.startswith(_ZIP)


def _check_dataset(head: bytes, size: int) -> None:
    if head.startswith(_DATASETS) or _is_tar(head):
        return
    raise UnsupportedContent(f"This is neither a zip or tar archive nor Parquet. {_HOW_TO_PACK}", code="not_an_archive")


def _check_model(head: bytes, size: int) -> None:
    if kind := _forbidden_model(head):
        other_way = _CONVERSION if is_torch_file(head) else ""
        raise UnsupportedContent(
            f"This is {kind}, which can run code when it is opened. {HOW_TO_EXPORT}{other_way}", code="unsafe_model"
        )
    if len(head) >= 10:
        (length,) = struct.unpack("<Q", head[:8])
        if 2 <= length <= min(MAX_SAFETENSORS_HEADER, size - 8) and head[8:9] == b"{":
            return
    raise UnsupportedContent(f"This is not a safetensors file. {HOW_TO_EXPORT}", code="not_safetensors")


def _check_image(head: bytes, size: int) -> None:
    if head.startswith(_IMAGES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return
    raise UnsupportedContent("This is not a PNG, JPEG, WebP, BMP or GIF picture. Save it as PNG.", code="not_an_image")


def _forbidden_model(head: bytes) -> str | None:
    if len(head) >= 2 and head[0] == 0x80 and head[1] <= 5:
        return "a Python pickle (as .pt, .pth and .pkl files are)"
    if head.startswith(b"PK"):
        return "a zip with a pickle in it (as .pt and .pth files of torch.save, or TorchScript)"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "an HDF5 file (as Keras .h5 files are)"
    if head.startswith(
        (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"ZF")
    ):
        return "a compressed joblib or pickle file"
    # ONNX is a protocol buffer: field 1 (ir_version, varint), then field 2 (producer_name, length-delimited).
    if len(head) >= 3 and head[0] == 0x08 and head[1] <= 0x20 and head[2] in (0x12, 0x1A, 0x22, 0x3A, 0x42):
        return "an ONNX file"
    return None


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"
