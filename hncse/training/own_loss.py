"""A loss of the reader's own in training: any function of two views, known by its source.

    def my_loss(z1, z2):                                  # (N, d) each, as the encoder gives them
        cosine = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T
        return F.cross_entropy(cosine / 0.05, torch.arange(len(z1), device=z1.device))

    run = train(TrainingConfig(seed=1), loss=my_loss)     # stands in every table as my_loss

Taught in notebooks/03_train.ipynb.
"""

from __future__ import annotations

import ast
import copy
import dis
import functools
import hashlib
import inspect
import sys
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hncse import presets
from hncse.errors import HncseError
from hncse.files import source_form, source_hash
from hncse.losses import ContrastiveLoss, LossOutput

__all__ = ["OwnLoss", "fingerprint"]

_SIMPLE = (type(None), bool, int, float, complex, str, bytes, np.generic, torch.dtype, torch.device)


class OwnLoss(ContrastiveLoss):
    """A function as the loss of a training; the kit's diagnostics of every batch stand beside it in the history.

    It is called with z1 and z2, (N, d) float32, not normalised; under torchrun with the whole batch on every process.
    What else it names among its arguments it receives by name: ``negatives`` (N, m, d), the mined negatives of a
    corpus that has some; ``excluded`` (N, N) bool, pairs that are no negatives of each other (i = j, and copies of a
    sentence); ``temperature``, the configuration's, where that argument has no default. An attribute ``step`` it may
    have is set to the number of the batch, for random draws that a resumed run repeats.

    Attributes:
        name: What tables call it.
        source: `fingerprint` of it.
    """

    def __init__(self, function: Callable[..., Any], temperature: float | None = None) -> None:
        """Take a function, a `functools.partial` of one, or an object with ``__call__`` (an ``nn.Module``, copied).

        Raises:
            HncseError: It is no function of two views, has no name, a preset's name, or a source nobody can read.
        """
        super().__init__()
        self.name, self.source = _name(function), fingerprint(function)
        parameters = _parameters(function, self.name)
        wants = parameters.get("temperature")
        self._more = {"temperature": temperature} if wants is not None and wants.default is wants.empty else {}
        self._negatives: Tensor | None = None
        self._names = [name for name in ("negatives", "excluded") if name in parameters]
        self.function = copy.deepcopy(function) if isinstance(function, nn.Module) else function

    def try_out(self, n: int, d: int, negatives: int, device: torch.device) -> None:
        """Compute it once for N random embeddings of width d, before anything is written, for its mistakes.

        Raises:
            HncseError: It returns no loss, or takes no negatives where the corpus has some.
        """
        if negatives and "negatives" not in self._names:
            raise HncseError(
                f"the corpus has negatives, and {self.name} has no argument called negatives (N, m, d); give it one, "
                "or leave negatives out of the configuration"
            )
        draw = torch.Generator().manual_seed(0)
        z1, other, hard = (torch.randn(*size, d, generator=draw).to(device) for size in ((n,), (n,), (n, negatives)))
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            self.to(device)
            self._negatives = hard if negatives else None
            self._loss(z1.requires_grad_(), z1.detach() + other, torch.eye(n, dtype=torch.bool, device=device))

    def forward(self, z1: Tensor, z2: Tensor, z3: Tensor | None = None, **more: Any) -> LossOutput:
        """Compute it, on the whole batch of all processes; see `ContrastiveLoss`."""
        self._negatives = None
        return super().forward(z1, z2, z3, **more)

    def _mined_columns(self, z1: Tensor, negatives: Tensor, *groups: Any) -> Tensor:
        self._negatives = negatives  # (N, m, d) of all processes
        return super()._mined_columns(z1, negatives, *groups)

    def extra_repr(self) -> str:
        """Show its name."""
        return self.name

    def _loss(
        self, z1: Tensor, z2: Tensor, excluded: Tensor, extra: Tensor | None = None, false: Tensor | None = None
    ) -> LossOutput:
        with torch.no_grad():
            diagnostics = super()._loss(z1, z2, excluded, extra).diagnostics
        if hasattr(self.function, "step"):
            self.function.step = self.step
        given = {"excluded": excluded, "negatives": self._negatives}
        out = self.function(z1, z2, **self._more, **{name: given[name] for name in self._names})
        if isinstance(out, LossOutput):
            diagnostics, out = diagnostics | out.diagnostics, out.loss
        if not isinstance(out, Tensor) or out.ndim:
            seen = f"a tensor of shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
            raise HncseError(
                f"{self.name} returned {seen}; a loss is one number for the batch: a tensor of no dimensions (.mean() "
                "makes one of many), or a hncse.losses.LossOutput"
            )
        if torch.is_grad_enabled() and not out.requires_grad:
            raise HncseError(
                f"{self.name} returned a number that no gradient leads back from to z1 or z2: compute it with torch "
                "from both, without .detach(), .item(), .numpy() or torch.no_grad()"
            )
        return LossOutput(out, diagnostics)


def _name(function: Any) -> str:
    """What tables call a function."""
    if not callable(function) or inspect.isclass(function):
        hint = "; a preset goes into TrainingConfig(loss=…)" if isinstance(function, str) else ""
        raise HncseError(f"loss is {function!r:.60}; it must be a function of z1 and z2, (N, d) tensors each{hint}")
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", type(function).__name__)
    if name == "<lambda>":
        raise HncseError("loss is a lambda; tables need a name for its row: def my_loss(z1, z2): …")
    if isinstance(function, ContrastiveLoss):
        raise HncseError("loss is one of the kit's; name it in the configuration: TrainingConfig(loss=…)")
    if name in presets.PRESETS:
        raise HncseError(f"loss is called {name!r}, as a preset is; give it a name of its own, by which tables list it")
    return name


def _parameters(function: Callable[..., Any], name: str) -> Mapping[str, inspect.Parameter]:
    try:
        signature = inspect.signature(function)
        signature.bind_partial("z1", "z2")
    except (TypeError, ValueError) as error:
        raise HncseError(f"{name} is to be called with z1 and z2: {error}") from error
    given = {*list(signature.parameters)[:2], "negatives", "excluded", "temperature"}
    other = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for argument in signature.parameters.values():
        if argument.name not in given and argument.default is argument.empty and argument.kind not in other:
            raise HncseError(
                f"{name} needs an argument {argument.name!r}; training gives z1, z2 and, by name, negatives, excluded "
                f"and temperature: give it a default, or functools.partial({name}, {argument.name}=…)"
            )
    return signature.parameters


def fingerprint(function: Any) -> str:
    """Hash what a function does: its source, without comments, docstrings or layout, and what that refers to.

    Defaults, closures, global values and the reader's own functions and modules that it uses count, by value or source;
    functions of installed packages by their names, the kit's own by the source of their module.

    Returns:
        16 hex digits of SHA-256.

    Raises:
        HncseError: No source can be read (typed at Python's prompt, or made by exec), or it uses a value that cannot
            be told from another.
    """
    return hashlib.sha256(_describe(function, "loss", {}).encode()).hexdigest()[:16]


def _describe(value: Any, name: str, seen: dict[int, tuple[int, Any]]) -> str:
    """Write a value down: equal for equal values, different for different ones; ``name`` is for messages."""
    if isinstance(value, _SIMPLE):
        return repr(value)
    if isinstance(value, types.ModuleType):
        return _of_module(value)
    if id(value) in seen:
        return f"#{seen[id(value)][0]}"
    seen[id(value)] = len(seen), value
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().flatten()
        raw = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
        return f"{value.dtype}{tuple(value.shape)}{hashlib.sha256(raw).hexdigest()}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    parts = _parts(value, name)
    return f"{type(value).__name__}({', '.join(f'{key}: {_describe(part, key, seen)}' for key, part in parts)})"


def _parts(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """What a value consists of, and what each part is called."""
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=repr)
    if isinstance(value, (list, tuple)):
        yield from ((f"{name}[{i}]", part) for i, part in enumerate(value))
    elif isinstance(value, Mapping):
        yield from ((str(key), value[key]) for key in sorted(value, key=str))
    elif inspect.isroutine(value) or inspect.isclass(value):
        yield from _of_code(value)
    elif isinstance(value, property):
        yield from (("get", value.fget), ("set", value.fset))
    elif isinstance(value, functools.partial):
        yield from (("function", value.func), ("arguments", value.args), ("keywords", value.keywords))
    elif hasattr(value, "__dict__"):
        yield "type", type(value)
        left_out = ("step", "training")  # training sets them
        yield from ((key, part) for key, part in sorted(vars(value).items()) if key not in left_out)
    elif " at 0x" not in repr(value):
        yield name, repr(value)
    else:
        raise HncseError(
            f"the loss uses {name}, a {type(value).__name__}, whose value cannot be told from another's, so that its "
            "run could not be found again; use numbers, texts, tensors and functions, and make other things inside it"
        )


def _of_code(value: Any) -> Iterator[tuple[str, Any]]:
    """Of a function or a class: its name where a library has it, else its source and what that refers to."""
    module, called = getattr(value, "__module__", None) or "builtins", getattr(value, "__qualname__", repr(value))
    if module.partition(".")[0] == "hncse":
        yield called, f"{module} {source_hash(module.partition('.')[2])}"
    elif inspect.ismethod(value):
        yield from (("function", value.__func__), ("of", value.__self__))
    elif inspect.isclass(value) and not _of_library(module):
        yield "bases", value.__bases__
        yield from ((key, part) for key, part in sorted(vars(value).items()) if _written(key, part))
    elif inspect.isfunction(value) and not _of_library(module):
        yield "source", _source(value)
        yield from (("defaults", value.__defaults__), ("keyword defaults", value.__kwdefaults__))
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        yield from ((variable, cell.cell_contents) for variable, cell in cells)
        for variable in sorted(set(_globals(value.__code__))):
            if variable in value.__globals__:
                yield variable, value.__globals__[variable]
    else:
        yield called, f"{module}.{called}"


def _of_library(module: str) -> bool:
    if module.partition(".")[0] in sys.stdlib_module_names:
        return module != "__main__"
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def _of_module(module: types.ModuleType) -> str:
    """A module's name and, of one that the reader wrote, its source; what that imports in its turn is not followed."""
    file = getattr(module, "__file__", None) or ""
    if module.__name__.partition(".")[0] == "hncse" or not file.endswith(".py") or _of_library(module.__name__):
        return module.__name__
    return f"{module.__name__} {source_form(ast.parse(Path(file).read_bytes()))}"


def _written(key: str, part: Any) -> bool:
    """Whether an entry of a class was written there, and not made by Python."""
    return not key.startswith("__") or inspect.isfunction(part)


def _globals(code: types.CodeType) -> Iterator[str]:
    """Names of the global variables that code reads, that of functions inside it too."""
    yield from (str(i.argval) for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals(constant)


def _source(function: types.FunctionType) -> str:
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise HncseError(
            f"the source of {function.__qualname__} cannot be read, and a run is known by its loss's source: write it "
            "into a file or a notebook's cell, not at Python's prompt or by exec"
        ) from error
    try:
        return source_form(ast.parse(text))
    except SyntaxError:  # a lambda, in the middle of its line
        return text
