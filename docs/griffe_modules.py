"""For the API pages: classes that are made from their fields, as dataclasses are, have a signature.

No decorator says so of Flax's modules and of named tuples, and Griffe only reads the source.
"""

import griffe

_MADE_FROM_FIELDS = ("nn.Module", "flax.struct.PyTreeNode", "NamedTuple")


class FieldsAsArguments(griffe.Extension):
    """Marks such classes, and those that derive from one in the same file, as dataclasses."""

    def on_class_members(self, *, cls: griffe.Class, **_):
        if any(self._has_fields(cls, str(base)) for base in cls.bases):
            cls.decorators.append(
                griffe.Decorator(
                    griffe.ExprName("dataclasses.dataclass"), lineno=None, endlineno=None
                )
            )

    def _has_fields(self, cls, base):
        if base in _MADE_FROM_FIELDS:
            return True
        beside = cls.parent.members.get(base)
        return isinstance(beside, griffe.Class) and bool(beside.decorators)
