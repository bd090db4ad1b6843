"""MACE models, evaluated in batches with one forward and backward pass per configuration.

Imported only where a model is loaded: it imports PyTorch and MACE, which takes seconds.
"""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from ase.data import chemical_symbols

from aiida_mbetrain.errors import DeviceNotAvailable, InvalidSettings
from aiida_mbetrain.science.configurations import Configurations, FloatArray
from aiida_mbetrain.science.potentials.base import Potential
from aiida_mbetrain.science.potentials.batches import CPU_BATCH_ATOMS, BatchSize, BatchTooLarge, Chunk
from aiida_mbetrain.science.potentials.calculator import PotentialCalculator
from aiida_mbetrain.science.potentials.mace.malloc import tune_malloc
from aiida_mbetrain.science.potentials.mace.model_files import choose_head, heads_of, read_model  # first: imports mace
from aiida_mbetrain.science.potentials.mace.pair_lists import PairLists
from aiida_mbetrain.science.progress import Report, silent
from aiida_mbetrain.settings import Inference

import torch  # isort: skip
from e3nn import o3  # isort: skip
from mace.modules.utils import extract_invariant  # isort: skip
from aiida_mbetrain.science.potentials.mace.graphs import Graphs, build_graphs, to_model_input  # isort: skip
from aiida_mbetrain.science.potentials.mace.fused import FusedModules, MaceModule  # isort: skip
from aiida_mbetrain.science.potentials.mace.kernels import (
    choose_kernels,
    known_modules,
    probe,
    require_same,
    with_kernels,
)  # isort: skip

CUDA_ATOMS = 8192
PROBE_ATOMS = 256  # the first batch on a CUDA device, which tells how much memory an edge takes
EDGES_PER_ATOM = 64  # memory grows with the edges: denser configurations get smaller batches
MEMORY_SHARE = 0.6  # of the free memory of a CUDA device


class MacePotential(Potential):
    """A MACE model on one device, in one precision, with one head.

    Energies are the model's interaction energy plus the sum of its atomic energies.  That sum is taken in
    float64 also where the model runs in float32, in which it would lose some 0.01 eV for a hundred atoms.
    """

    def __init__(self, model: MaceModule, inference: Inference, *, name: str, sha256: str | None = None) -> None:
        self.name, self.sha256 = name, sha256
        self.device = _device(inference.device)
        self.head = choose_head(model, inference.head)
        if inference.tune_malloc and self.device.type == "cpu":
            tune_malloc()
        self._dtype = getattr(torch, inference.default_dtype)
        numbers = model.atomic_numbers.cpu().numpy()
        self.elements = frozenset(int(number) for number in numbers)
        self.r_max = float(model.r_max)
        self.num_interactions = int(model.num_interactions)
        self.receptive_field = self.r_max * self.num_interactions
        self._species = np.full(numbers.max() + 1, -1)
        self._species[numbers] = np.arange(len(numbers))
        self._head_index = heads_of(model).index(self.head)
        self._atomic_energies = np.zeros(numbers.max() + 1)
        self._atomic_energies[numbers] = _take_atomic_energies(model)[self._head_index]
        self._invariants = _invariants_layout(model)
        self.feature_length = self._invariants["num_layers"] * self._invariants["num_features"]
        self._pairs = PairLists(self.r_max)
        self._fused: FusedModules | None = None
        self._take(model)
        self.kernels = choose_kernels(inference.kernels, self.device)
        if self.kernels == "cueq" and inference.kernels == "auto":
            self._try_kernels()
        elif self.kernels != "e3nn":
            self._replace_kernels()
        self._set_batch_size(inference.batch_atoms)

    def _take(self, model: MaceModule) -> None:
        self._model = model.to(device=self.device, dtype=self._dtype).eval().requires_grad_(False)

    def _try_kernels(self) -> None:
        """Let other kernels compute the model where they can; keep its own where they cannot, and say why."""
        own = self._model
        try:
            self._replace_kernels()
        except (InvalidSettings, ImportError, RuntimeError) as error:  # CUDA's are RuntimeErrors
            warnings.warn(f"The model is computed by its own kernels (e3nn), for {self.kernels}: {error}", stacklevel=2)
            self.kernels = "e3nn"
            self._take(own)

    def _replace_kernels(self) -> None:
        """Let other kernels compute the model; raises InvalidSettings where they do not compute this model."""
        self._set_batch_size(PROBE_ATOMS)
        atoms = probe(sorted(self.elements or ()), self.r_max)
        [expected] = self.evaluate([atoms])
        with known_modules(self.kernels):
            model, self._fused = with_kernels(self._model, self.kernels, self.device)
            self._take(model)
            [found] = self.evaluate([atoms])
        require_same(found, expected, self.kernels, self._dtype)

    @classmethod
    def load(cls, path: Path, inference: Inference, *, sha256: str | None = None) -> Self:
        """From a model file; raises as ``potentials.load_mace`` does."""
        _device(inference.device)
        model, digest = read_model(path, sha256)
        return cls(model, inference, name=path.name, sha256=digest)

    def evaluate(
        self, sets: Sequence[Configurations], *, features: bool = False, report: Report = silent
    ) -> list[Configurations]:
        """See Potential; the features are the invariants of all interaction layers, (F, N, D)."""
        self.require_elements({int(number) for part in sets for number in part.numbers})
        if self.device.type == "cpu" and np.isfinite(self._edge_limit):
            # what was evaluated before must not decide how batches are cut, hence the last bits: a run of several
            # replicas that is continued would leave the trajectory of one that is not
            self._batch_size.atoms = CPU_BATCH_ATOMS
        labelled = [self._with_empty_labels(part, features) for part in sets]
        total, done = sum(part.n_frames * part.n_atoms for part in sets), 0

        def evaluate_batch(batch: list[Chunk]) -> None:
            nonlocal done
            self._evaluate_batch(batch, sets, labelled, features)
            done += sum(chunk.atoms for chunk in batch)
            report(done, total)

        self._batch_size.run(sets, evaluate_batch)
        return labelled

    def calculator(self) -> PotentialCalculator:
        """See Potential."""
        return PotentialCalculator(self)

    def describe(self) -> dict[str, str | float | int | None]:
        """Name, sha256, elements, cutoff, layers, precision, device, head and versions."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "elements": " ".join(chemical_symbols[number] for number in sorted(self.elements or ())),
            "r_max": self.r_max,
            "num_interactions": self.num_interactions,
            "dtype": str(self._dtype).removeprefix("torch."),
            "device": self.device.type,
            "kernels": self.kernels,
            "device_name": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
            "head": self.head,
            "torch_version": torch.__version__,
            "mace_version": importlib.metadata.version("mace-torch"),
            "e3nn_version": importlib.metadata.version("e3nn"),
        }

    def _with_empty_labels(self, part: Configurations, features: bool) -> Configurations:
        """A copy of the frames with arrays for the labels to be written into."""
        f, n = part.n_frames, part.n_atoms
        return part.with_(
            energies=np.empty(f),
            forces=np.empty((f, n, 3)),
            stress=np.empty((f, 3, 3)) if part.periodic else None,
            features=np.empty((f, n, self.feature_length)) if features else None,
        )

    def _set_batch_size(self, atoms: int | None) -> None:
        """Set the batch size: from the settings, by the caches of a CPU, or after a first batch on a CUDA device."""
        self._edge_limit = np.inf
        self._probes_memory = atoms is None and self.device.type == "cuda"
        if atoms is None and self.device.type == "cpu":
            self._edge_limit = CPU_BATCH_ATOMS * EDGES_PER_ATOM
        default = PROBE_ATOMS if self._probes_memory else CPU_BATCH_ATOMS
        self._batch_size = BatchSize(atoms or default)

    def _evaluate_batch(
        self, batch: list[Chunk], sets: Sequence[Configurations], labelled: list[Configurations], features: bool
    ) -> None:
        """One pass of the model over the frames of a batch, written into ``labelled``; raises BatchTooLarge."""
        graphs = build_graphs([sets[chunk.part].select(slice(chunk.start, chunk.stop)) for chunk in batch], self._pairs)
        if len(graphs.sizes) > 1 and graphs.n_edges > self._edge_limit:
            raise BatchTooLarge(self._edge_limit / graphs.n_edges)
        results = self._forward_or_halve(graphs, features)
        frame, atom = 0, 0
        for chunk in batch:
            frames, atoms = slice(frame, frame + chunk.frames), slice(atom, atom + chunk.atoms)
            frame, atom = frames.stop, atoms.stop
            target, where = labelled[chunk.part], slice(chunk.start, chunk.stop)
            for name, source in (("energies", frames), ("stress", frames), ("forces", atoms), ("features", atoms)):
                values = getattr(target, name)
                if values is not None:
                    values[where] = results[name][source].reshape(values[where].shape)

    def _forward_or_halve(self, graphs: Graphs, features: bool) -> dict[str, FloatArray]:
        """``_forward``, with memory that ran out turned into BatchTooLarge."""
        try:
            return self._forward(graphs, features)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
        # outside the handler: the traceback held on to the tensors of the failed pass
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        raise BatchTooLarge(0.5)

    def _forward(self, graphs: Graphs, features: bool) -> dict[str, FloatArray]:
        """Energies (G,), stress (G, 3, 3), forces (n, 3) and features (n, D) of joined graphs, in float64."""
        species = self._species[graphs.numbers]
        n_species = len(self._model.atomic_numbers)
        data = to_model_input(graphs, species, n_species, self._head_index, self.device, self._dtype)
        if self._fused is not None:
            self._fused.arrange(graphs, species, self.device, self._dtype)
        if self._probes_memory:
            torch.cuda.reset_peak_memory_stats(self.device)
        # TorchScript's optimizer rewrites the model after its first call: no faster here, and the first call then
        # differs from all others in the last bits, so that a restarted run would leave the trajectory it continues
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]  # documented, but not in __all__
            out = self._model(data, compute_force=True, compute_stress=graphs.periodic)
        results = {"energies": _to_numpy(out["energy"]), "forces": _to_numpy(out["forces"])}
        firsts = np.cumsum(graphs.sizes) - graphs.sizes
        results["energies"] += np.add.reduceat(self._atomic_energies[graphs.numbers], firsts)
        if graphs.periodic:
            results["stress"] = _to_numpy(out["stress"])
        if features:
            results["features"] = _to_numpy(extract_invariant(out["node_feats"], **self._invariants))
        if self._probes_memory:
            self._learn_memory(graphs)
        return results

    def _learn_memory(self, graphs: Graphs) -> None:
        """Size the batches on a CUDA device by the memory that the first one took for each edge."""
        per_edge = torch.cuda.max_memory_allocated(self.device) / max(graphs.n_edges, 1)
        free, _ = torch.cuda.mem_get_info(self.device)
        self._edge_limit = MEMORY_SHARE * free / per_edge
        self._batch_size.atoms = CUDA_ATOMS
        self._probes_memory = False


def _device(name: str) -> torch.device:
    """The device by its name in the settings; raises DeviceNotAvailable."""
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceNotAvailable(
            "Inference.device = 'cuda', and this machine has no CUDA device that PyTorch can use: take 'auto' or "
            "'cpu', or a machine with a GPU and a CUDA build of PyTorch."
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _take_atomic_energies(model: MaceModule) -> FloatArray:
    """Atomic energies by head and element (H, Z), eV, which are set to zero in the model."""
    buffer = model.atomic_energies_fn.atomic_energies
    energies: FloatArray = torch.atleast_2d(buffer).double().numpy().copy()
    buffer.zero_()
    return energies


def _invariants_layout(model: MaceModule) -> dict[str, int]:
    """Arguments of mace's ``extract_invariant``, found as ``MACECalculator.get_descriptors`` does."""
    irreps = o3.Irreps(str(model.products[0].linear.irreps_out))
    return {
        "num_layers": int(model.num_interactions),
        "num_features": irreps.dim // (irreps.lmax + 1) ** 2,
        "l_max": irreps.lmax,
    }


def _is_out_of_memory(error: Exception) -> bool:
    """PyTorch raises its own class on CUDA, and plain RuntimeErrors on a CPU and from compiled code."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(text in str(error) for text in ("out of memory", "DefaultCPUAllocator", "can't allocate memory"))


def _to_numpy(values: torch.Tensor) -> FloatArray:
    return values.detach().to(torch.float64).cpu().numpy()
