"""A case's scores in the columns that other tools read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence

import numpy as np

from orfila.columns import Scores
from orfila.review.schemas import VerdictValue


def cleanlab_csv(scores: Scores) -> str:
    """Columns of cleanlab's `Datalab.get_issues("label")`, one row for each training image, in their order.

    label_score: 1 minus the posterior, so that low is bad, as there; given_label is the label; there is no other label
    to propose, so predicted_label is the same.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("index", "is_label_issue", "label_score", "given_label", "predicted_label"))
    flagged, posterior = scores.flags["flagged"], scores.posterior
    for i, label in enumerate(scores.label.tolist()):
        writer.writerow((i, bool(flagged[i]), f"{1 - float(posterior[i]):.6f}", label, label))
    return out.getvalue()


def fiftyone_json(scores: Scores, said: Mapping[int, VerdictValue], classes: Sequence[str], name: str) -> str:
    """Samples as `fiftyone.types.FiftyOneDataset`'s samples.json has them, for `Dataset.merge_samples` by `filepath`.

    filepath is the image's name in the data set; the fields are ground_truth (Classification), orfila_flagged,
    orfila_posterior, orfila_collapse_score, orfila_influence_shift and orfila_verdict.
    """
    suspects = np.flatnonzero(scores.flags["suspect"] | scores.flags["flagged"])
    samples = [
        {
            "filepath": scores.names[int(i)].as_py(),
            "tags": ["orfila-flagged"] if scores.flags["flagged"][i] else [],
            "ground_truth": {"_cls": "Classification", "label": classes[int(scores.label[i])]},
            "orfila_index": int(i),
            "orfila_flagged": bool(scores.flags["flagged"][i]),
            "orfila_posterior": float(scores.posterior[i]),
            "orfila_collapse_score": float(scores.numbers["collapse_score"][i]),
            "orfila_influence_shift": float(scores.numbers["shift_mean"][i]),
            "orfila_verdict": said.get(int(i)),
        }
        for i in suspects
    ]
    return json.dumps({"name": name, "samples": samples}, indent=1)
