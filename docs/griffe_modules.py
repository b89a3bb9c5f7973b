"""For the API pages: Flax's modules and named tuples are made from their fields, as dataclasses are.

No decorator says so of them, so Griffe, which reads the source, would show them without a signature.
"""

import griffe


class FieldsAsArguments(griffe.Extension):
    """Marks modules and named tuples, and what is derived from them in their file."""

    def on_class_members(self, *, cls: griffe.Class, **_):
        if any(self._has_fields(cls, str(base)) for base in cls.bases):
            cls.decorators.append(
                griffe.Decorator(griffe.ExprName("dataclasses.dataclass"), lineno=None, endlineno=None)
            )

    def _has_fields(self, cls, base):
        if base in ("nn.Module", "NamedTuple"):
            return True
        beside = cls.parent.members.get(base)
        return isinstance(beside, griffe.Class) and bool(beside.decorators)
