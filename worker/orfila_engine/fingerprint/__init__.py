"""The fingerprint index: influence as an inner product (docs/method.md).

One pass over the training set writes each image's projected gradient G_il of every layer l. With
L_l L_l^T = mean_i vec(G_il) vec(G_il)^T + damping, the fingerprint is phi(g_i) = concat_l L_l^-1 vec(G_il). Then

    influence            s_iq = phi(g_i) . phi(h_q)          (g . F^-1 . h with the projected Fisher, a block per layer)
    self-influence       |phi(g_i)|^2
    relative influence   phi(g_i) . phi(h_q) / |phi(g_i)|    (RelatIF, Barshan 2020)

The pass is split into shards whose Gram matrices add up: `project_shard` on any number of workers, `reduce_shards` on
one. Neither the sharding nor the batch size changes the result beyond rounding; the same ones give the same bits. The
projected gradients are stored as they come and never written again; whitening is linear, so it is applied to the few
vectors that they are multiplied with.

    spec.py       what decides an index
    store.py      rows on disk
    whitening.py  L^-1, and how it is found
    passes.py     the pass, batches side by side
    shards.py     building
    index.py      asking
"""

from orfila_engine.fingerprint.digest import model_digest
from orfila_engine.fingerprint.index import FingerprintIndex, Fingerprints, build_index
from orfila_engine.fingerprint.passes import BATCH_SIZE, default_batch_size
from orfila_engine.fingerprint.shards import STORED, ShardWriter, project_shard, reduce_shards, stored_name
from orfila_engine.fingerprint.spec import IndexSpec

__all__ = [
    "BATCH_SIZE",
    "STORED",
    "FingerprintIndex",
    "Fingerprints",
    "IndexSpec",
    "ShardWriter",
    "build_index",
    "default_batch_size",
    "model_digest",
    "project_shard",
    "reduce_shards",
    "stored_name",
]
