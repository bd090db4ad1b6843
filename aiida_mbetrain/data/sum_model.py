"""Baseline and delta model as one node."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from typing import Self

from aiida import orm

from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.science.potentials import Potential, SumPotential, load_mace, named_calculator
from aiida_mbetrain.settings import Inference, JsonObject, NamedCalculator


class SumModelData(orm.Data):
    """A sum of models, accepted wherever a model is, under one hash.

    Attributes: ``name``; ``terms``, each with kind, and sha256 and file or name and parameters; ``sha256`` of them all;
    ``elements`` that all of them know.
    """

    @classmethod
    def of(cls, *models: orm.Data) -> Self:
        """An unstored node of MACE models and named calculators, baseline first."""
        node, elements = cls(), None
        terms: list[JsonObject] = []
        for number, model in enumerate(models):
            if isinstance(model, MaceModelData):
                file = f"{number}_{model.filename}"
                node.base.repository.put_object_from_bytes(model.get_content("rb"), file)
                terms.append({"kind": "mace", "file": file, "sha256": model.sha256})
                known = set(model.elements)
                elements = known if elements is None else elements & known
            else:
                assert isinstance(model, orm.Dict)
                terms.append({"kind": "ase", **NamedCalculator(**model.get_dict()).to_dict()})
        text = json.dumps([{key: value for key, value in term.items() if key != "file"} for term in terms])
        files = " + ".join(str(term.get("file") or term["name"]) for term in terms)
        facts: JsonObject = {"terms": terms, "name": files, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        node.base.attributes.set_many(facts | {"elements": None if elements is None else sorted(elements)})
        return node

    @classmethod
    def of_digest(cls, sha256: str) -> Self | None:
        """The stored node with this sha256; None where there is none."""
        found: Self | None = orm.QueryBuilder().append(cls, filters={"attributes.sha256": sha256}).first(flat=True)
        return found

    @property
    def terms(self) -> list[JsonObject]:
        """The models that are added, as ``job.json`` has them."""
        return list(self.base.attributes.get("terms"))

    @property
    def sha256(self) -> str:
        """Hexadecimal sha256 of the hashes of the files, and of names and parameters, in order."""
        return str(self.base.attributes.get("sha256"))

    @property
    def filename(self) -> str:
        """Files of the terms, for people."""
        return str(self.base.attributes.get("name"))

    @property
    def elements(self) -> list[str]:
        """Symbols of the elements that all models know."""
        return list(self.base.attributes.get("elements") or [])

    def load(self, inference: Inference) -> Potential:
        """Load the potential; raises ModelHashMismatch if a stored file was changed."""
        with ExitStack() as stack:
            potentials: list[Potential] = []
            for term in self.terms:
                if term["kind"] == "mace":
                    path = stack.enter_context(self.base.repository.as_path(term["file"]))
                    potentials.append(load_mace(path, _for_term(inference, potentials), sha256=term["sha256"]))
                else:
                    potentials.append(
                        named_calculator(NamedCalculator(name=term["name"], parameters=term["parameters"]))
                    )
            return SumPotential(potentials)


def _for_term(inference: Inference, before: list[Potential]) -> Inference:
    """Settings of a term: the head is that of the baseline."""
    return inference.model_copy(update={"head": None}) if before else inference
