"""An encoder without torch: ONNX files for onnxruntime and transformers.js, in float32 and in 8 bits.

``onnx/model.onnx`` takes ``input_ids`` and ``attention_mask`` (B, L) int64 and gives ``last_hidden_state`` (B, L, d)
and ``sentence_embedding`` (B, d), the encoder's own pooling; ``onnx/model_quantized.onnx`` is the same with weights in
int8. Names and places are those transformers.js looks for. A prompt is text and not in the graph. The backend "onnx" of
sentence-transformers 5.2 (optimum-onnx 0.1.0) takes these files where ``model_args`` is taken out of the folder's
sentence_bert_config.json; beside transformers 5 it cannot be installed.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hncse.errors import HncseError

if TYPE_CHECKING:
    from hncse.encoder import SentenceEncoder

__all__ = ["FILES", "OnnxEncoder", "write"]

#: Format → its file in an encoder's folder.
FILES = {"onnx": "onnx/model.onnx", "int8": "onnx/model_quantized.onnx"}
_OPSET = 17
_MOST = 2_000_000_000  # bytes an ONNX file may have, which is one protocol buffer
_TOLERANCE = 1e-3  # of the largest number of an embedding; float32 rounding stays far below
_TRIAL = ["Two men play chess.", "A dog.", "It rained all night, and nobody in the house by the river heard it."]


def write(encoder: SentenceEncoder, folder: Path, int8: bool) -> None:
    """Write the ONNX files of an encoder into the folder that holds its others, and try the first of them.

    Raises:
        HncseError: onnx or onnxruntime is not installed, the encoder is too large for one file, its architecture cannot
            be traced, or the graph's embeddings are not the encoder's.
    """
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise HncseError(f"export needs the optional package {package}: pip install 'hncse[onnx]'")
    size = sum(p.numel() * p.element_size() for p in encoder.backbone.parameters())
    if size > _MOST:
        raise HncseError(
            f"the encoder has {size / 1e9:.1f} GB of weights; an ONNX file holds 2 GB. Take fewer layers (layers=)"
        )
    plain, small = (folder / FILES[name] for name in ("onnx", "int8"))
    plain.parent.mkdir(parents=True)
    kind = encoder.backbone.config.model_type
    try:
        with _quiet(), _on_cpu(encoder) as graph:
            _trace(graph, plain)
    except OSError:  # a full disk
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise HncseError(f"{kind} cannot be exported to ONNX with this version of torch: {reason[:200]}") from error
    want, got = encoder.encode(_TRIAL), OnnxEncoder(encoder, plain).encode(_TRIAL)
    if (error_ := np.abs(want - got).max() / np.abs(want).max()) > _TOLERANCE:
        raise HncseError(f"the ONNX graph of this {kind} gives other embeddings (by {error_:.1e} of the largest)")
    if int8:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with _quiet():
            quantize_dynamic(plain, small, weight_type=QuantType.QInt8)


class OnnxEncoder:
    """An exported encoder: tokenized as the original is, computed by onnxruntime."""

    def __init__(self, encoder: SentenceEncoder, file: str | Path) -> None:
        """Open a file.

        Args:
            encoder: Whose tokenizer, prompt and length limit are used, such as the one in the file's folder.
            file: One that `SentenceEncoder.export` wrote.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.pooling = encoder.pooling
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self._twin = copy.copy(encoder)  # another forward pass, all else shared
        self._twin.forward = self._forward  # type: ignore[assignment, method-assign]

    def encode(self, sentences: list[str], batch_size: int = 64) -> NDArray[np.float32]:
        """Embed sentences, (n, d) float32, as `SentenceEncoder.encode` does."""
        return self._twin.encode(sentences, batch_size)

    def _forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        given = {"input_ids": input_ids.cpu().numpy(), "attention_mask": attention_mask.cpu().numpy()}
        return torch.from_numpy(self._session.run(["sentence_embedding"], given)[0])


class _Graph(nn.Module):
    """What is traced: tokens, and their pooling."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.encoder.token_embeddings(input_ids, attention_mask)
        return tokens, self.encoder.pool(tokens, attention_mask)


def _trace(graph: _Graph, file: Path) -> None:
    batch = graph.encoder.pad(graph.encoder.tokenize(_TRIAL[:2]))
    inputs, outputs = ["input_ids", "attention_mask"], ["last_hidden_state", "sentence_embedding"]
    lengths = {name: {0: "batch", 1: "length"} for name in [*inputs, outputs[0]]}
    with torch.no_grad():
        torch.onnx.export(
            graph, tuple(batch[name] for name in inputs), str(file), dynamo=False, opset_version=_OPSET,
            input_names=inputs, output_names=outputs, dynamic_axes=lengths | {outputs[1]: {0: "batch"}},
        )  # fmt: skip


@contextlib.contextmanager
def _on_cpu(encoder: SentenceEncoder) -> Iterator[_Graph]:
    device, training = encoder.device, encoder.training
    try:
        yield _Graph(encoder).cpu().eval()
    finally:
        encoder.to(device).train(training)


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """Silence what the exporter and the quantiser say of shapes, tracing and preprocessing."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
