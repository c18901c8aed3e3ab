"""Intake under load: a large upload whose server is killed in the middle, and the ingest of many small pictures.

The peers of the upload are plain copies through HTTP (`copying`), sent by the same client library in the same run: to
the product's own server, uvicorn, with an application that only writes, and to Python's http.server, which does no more
than read a socket. All take turns, each file is removed before the next one comes, and a first round does not count: a
virtual machine may have to ask its host for memory that it has not used lately, which takes longer than the copy.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks.copying import BLOCK, copy, server
from benchmarks.product import Product, megabytes
from benchmarks.tables import table, verdict
from orfila.client import Client
from orfila_engine.data import PackedDataset
from orfila_worker.sandbox import pack_untrusted

UPLOAD_BYTES = 5 * 2**30
COPY_BYTES = 2**29
N_ROUNDS = 3
N_KILLS = 5
N_PICTURES = 50_000
MEMORY_LIMIT = 300.0
"""MB of the API's resident memory."""
INGEST_LIMIT = 60.0
"""Seconds."""
LEAST_SHARE = 0.5
"""Of the throughput of a plain copy through HTTP."""
_OPTIONS = {"on_broken": "refuse", "seed": 0, "keep_originals": True, "atlases": True}


def run(packed: Path, work: Path) -> dict[str, Any]:
    """Measure everything below a scratch folder, which is removed. packed: real pictures to make others of."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        archive = _archive(PackedDataset.open(packed), work / "pictures.zip")
        return {"ingest": _ingest(archive, work), "upload": _upload(work)}
    finally:
        shutil.rmtree(work, ignore_errors=True)


def page(result: dict[str, Any]) -> str:
    """The section of docs/benchmarks.md."""
    ingest, upload = result["ingest"], result["upload"]
    speed = upload["megabytes_per_second"]
    rows = [
        [
            f"upload of {upload['gigabytes']:.1f} GB, the API killed {upload['kills']} times in the middle",
            "digest equal",
            "equal" if upload["equal"] else "another",
            verdict(upload["equal"]),
        ],
        [
            "memory of the API meanwhile, the most",
            f"< {MEMORY_LIMIT:.0f} MB",
            f"{upload['peak_megabytes']:.0f} MB",
            verdict(upload["peak_megabytes"] < MEMORY_LIMIT),
        ],
        *(
            [
                f"throughput of {upload['rounds']} times {upload['copy_gigabytes']:.2f} GB, digests included",
                f">= {LEAST_SHARE} of a plain copy {through} ({speed[peer]:.0f} MB/s)",
                f"{speed['upload'] / speed[peer]:.2f} ({speed['upload']:.0f} MB/s)",
                verdict(speed["upload"] >= LEAST_SHARE * speed[peer]),
            ]
            for peer, through in (
                ("uvicorn", "through the same HTTP server"),
                ("raw", "through Python's http.server, which only reads a socket"),
            )
        ),
        [
            f"ingest of {ingest['images']:,} JPEG pictures of 32 x 32, originals and thumbnails kept",
            f"< {INGEST_LIMIT:.0f} s",
            f"{ingest['seconds']:.1f} s, {ingest['peak_megabytes']:.0f} MB",
            verdict(ingest["seconds"] < INGEST_LIMIT),
        ],
        [
            f"the same, killed {ingest['kills']} times at random points and begun again",
            "digest equal",
            "equal" if ingest["equal"] else "another",
            verdict(ingest["equal"]),
        ],
    ]
    return "\n".join(["## Intake", "", table(["what", "target", "reached", ""], rows), ""])


def _archive(packed: PackedDataset, path: Path) -> Path:
    """N_PICTURES JPEG files made of real ones, each moved a little further to the side, in class folders."""
    n, made = len(packed.pixels), 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        while made < N_PICTURES:
            moved, index = divmod(made, n)
            buffer = io.BytesIO()
            Image.fromarray(np.roll(packed.pixels[index], moved, axis=1)).save(buffer, "JPEG", quality=90)
            split = "train" if index < packed.n_train else "test"
            name = packed.classes[int(packed.labels[index])]
            archive.writestr(f"{split}/{name}/{moved}-{index:05d}.jpg", buffer.getvalue())
            made += 1
    return path


def _ingest(archive: Path, work: Path) -> dict[str, Any]:
    """In the sandbox that jobs use; its most memory is looked at from outside."""
    most = 0.0
    stop = threading.Event()

    def watch() -> None:
        nonlocal most
        while not stop.wait(0.05):
            most = max(most, sum(megabytes(child) for child in psutil.Process().children(recursive=True)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    pack_untrusted(archive, work / "calm", _OPTIONS, lambda doing, share: None)
    seconds = time.perf_counter() - began
    stop.set()
    watcher.join()

    rng, kills = np.random.default_rng(0), 3
    for _ in range(kills):
        killer = threading.Timer(float(rng.uniform(0.1, 0.9)) * seconds, _kill_sandbox)
        killer.start()
        try:
            pack_untrusted(archive, work / "killed", _OPTIONS, lambda doing, share: None)
        except ValueError:
            pass  # the sandbox was ended
        finally:
            killer.cancel()
        shutil.rmtree(work / "killed", ignore_errors=True)
    pack_untrusted(archive, work / "killed", _OPTIONS, lambda doing, share: None)
    calm, killed = (PackedDataset.open(work / name) for name in ("calm", "killed"))
    return {
        "images": len(calm.pixels),
        "seconds": round(seconds, 2),
        "peak_megabytes": round(most, 1),
        "kills": kills,
        "equal": calm.digest == killed.digest and bool(np.array_equal(calm.pixels, killed.pixels)),
    }


def _kill_sandbox() -> None:
    for child in psutil.Process().children(recursive=True):
        if "orfila_worker.sandbox" in child.cmdline():
            child.kill()


def _upload(work: Path) -> dict[str, Any]:
    large, small = work / "large.zip", work / "small.zip"
    _random_zip(small, COPY_BYTES)
    os.sync()  # what was written before must not be written while the clock runs
    seconds: dict[str, list[float]] = {"raw": [], "uvicorn": [], "upload": []}
    with (
        Product(work / "data") as product,
        Client.sign_in(product.link) as client,
        server("raw", work / "copied") as raw,
        server("uvicorn", work / "copied") as plain,
    ):
        project = client.projects()[0].id
        for number in range(1 + N_ROUNDS):
            with small.open("r+b") as file:  # another content each time, or the store would keep one
                file.seek(64)
                file.write(number.to_bytes(8, "big"))
            seconds["raw"].append(copy(small, raw))
            seconds["uvicorn"].append(copy(small, plain))
            (work / "copied").unlink()
            began = time.perf_counter()
            client.upload(project, small, "dataset")
            seconds["upload"].append(time.perf_counter() - began)
            product.drop_files()
        expected = _random_zip(large, UPLOAD_BYTES)
        shares = iter(np.linspace(0.1, 0.9, N_KILLS))
        next_kill, kills = next(shares), 0

        def at(doing: str, share: float) -> None:
            nonlocal next_kill, kills
            if share >= next_kill:
                threading.Timer(0.02, product.kill_api).start()  # while the next piece is being written
                kills += 1
                next_kill = next(shares, 2.0)

        finished = client.upload(project, large, "dataset", at)
        peak = product.stop_watching()
    return {
        "gigabytes": UPLOAD_BYTES / 2**30,
        "kills": kills,
        "equal": finished.sha256 == expected,
        "peak_megabytes": round(peak, 1),
        "copy_gigabytes": COPY_BYTES / 2**30,
        "rounds": N_ROUNDS,
        "megabytes_per_second": {
            what: round(N_ROUNDS * COPY_BYTES / 2**20 / sum(times[1:]), 1) for what, times in seconds.items()
        },
    }


def _random_zip(path: Path, size: int) -> str:
    """A file that begins as a zip does, of random bytes; its SHA-256."""
    digest = hashlib.sha256()
    block = os.urandom(8 * BLOCK)
    with path.open("wb") as file:
        for number in range(size // len(block)):
            piece = (b"PK\x03\x04" + number.to_bytes(8, "big") + block)[: len(block)]
            file.write(piece)
            digest.update(piece)
    return digest.hexdigest()
