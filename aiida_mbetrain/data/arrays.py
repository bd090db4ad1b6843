"""Science objects stored as ArrayData nodes."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from aiida import orm


class ScienceArrayData(orm.ArrayData):
    """Base of the nodes of one science object: arrays in the repository, scalar facts as attributes."""

    science_class: ClassVar[Any]

    @classmethod
    def from_science(cls, value: Any) -> Self:
        """An unstored node of the object."""
        node = cls()
        for name, array in value.to_arrays().items():
            node.set_array(name, array)
        node.base.attributes.set_many(cls.facts(value))
        return node

    def to_science(self) -> Any:
        """The science object of the node."""
        return self.science_class.from_arrays({name: self.get_array(name) for name in self.get_arraynames()})

    @classmethod
    def facts(cls, value: Any) -> dict[str, object]:
        """Attributes for queries."""
        return {}
