"""``hncse export``: write an encoder for onnxruntime and transformers.js, and print what each format scores.

hncse export my-encoder --int8        # into the same folder, as my-encoder/onnx/
hncse export latest out --int8        # a run's encoder, with its model card, into the folder out
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hncse.data import probe as data_probe
from hncse.data import senteval
from hncse.errors import HncseError, command, unknown
from hncse.evaluation import add_encoder, open_encoder, probe, sts

if TYPE_CHECKING:
    from hncse.encoder import SentenceEncoder

__all__ = ["compare", "table"]


def compare(encoder: SentenceEncoder, folder: Path) -> list[dict[str, Any]]:
    """Score every format that `hncse.SentenceEncoder.export` wrote into a folder, beside the encoder itself.

    Returns:
        A row a format: ``format``, ``megabytes``, ``difference`` (largest of any number of the probe's embeddings, in
        units of the largest number there; None for the original), ``probe`` and ``stsb_dev`` (Spearman × 100; None
        without the file).
    """
    from hncse.encoder import onnx

    files = {name: folder / file for name, file in onnx.FILES.items() if (folder / file).is_file()}
    judged: dict[str, Any] = {
        "original": encoder,
        **{name: onnx.OnnxEncoder(encoder, file) for name, file in files.items()},
    }
    groups = data_probe.load()
    texts = sorted({sentence.text for group in groups for sentence in group.sentences})
    with_sts, first, rows = senteval.present("STSB", "dev"), None, []
    for name, each in judged.items():
        z = each.encode(texts)
        first = z if first is None else first
        file = files.get(name, folder / "model.safetensors")
        rows.append({
            "format": name,
            "megabytes": file.stat().st_size / 1e6,
            "difference": None if name == "original" else float(np.abs(z - first).max() / np.abs(first).max()),
            "probe": probe.evaluate(each, groups=groups, bootstrap=0)["spearman"],
            "stsb_dev": sts.evaluate(each, ["STSB"], "dev", cache=False)["STSB"] if with_sts else None,
        })  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of a readable table of what `compare` returned."""
    yield f"{'format':10}{'MB':>8}{'largest difference':>20}{'probe':>9}{'STS-B dev':>11}"
    for row in rows:
        difference = "" if row["difference"] is None else f"{row['difference']:.1e}"
        dev = "no files" if row["stsb_dev"] is None else f"{row['stsb_dev']:.2f}"
        yield f"{row['format']:10}{row['megabytes']:8.1f}{difference:>20}{row['probe']:9.2f}{dev:>11}"
    yield "probe and STS-B dev: Spearman × 100. Difference: of any number, in units of the largest in an embedding"


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="hncse export", description="Write an encoder as ONNX beside its other files, and score each format."
    )
    add = parser.add_argument
    add_encoder(parser)
    add("folder", nargs="?", help="where to; default: the encoder's own folder, or export/ in a run's")
    add("--format", default="onnx", help="onnx (the only one)")
    add("--int8", action="store_true", help="also with weights in 8 bits, onnx/model_quantized.onnx")
    add("--push", metavar="OWNER/NAME", help="then send the folder to the Hugging Face hub (hf auth login)")
    add("--private", action="store_true", default=None, help="with --push: a repository only you see")
    options = parser.parse_args(arguments)
    if options.format != "onnx":
        raise unknown("export format", options.format, ["onnx"])
    if options.private and not options.push:
        raise HncseError("--private is about a repository on the hub; give its name with --push")
    encoder, run = open_encoder(options.encoder, options.pooling)
    own = run.path / "export" if run else Path(options.encoder).expanduser()
    if not options.folder and not run and not (own / "hncse.json").is_file():
        raise HncseError(f"{options.encoder} is no folder that this kit wrote; say where to: hncse export "
                         f"{options.encoder} FOLDER")  # fmt: skip
    folder = encoder.export(options.folder or own, options.format, options.int8, repo=options.push or "")
    lines = [f"{folder}:", *table(compare(encoder, folder))]
    if options.push:
        from hncse.encoder import hub

        lines.append(hub.upload(folder, options.push, options.private))
    sys.stdout.writelines(line + "\n" for line in lines)
    return 0
