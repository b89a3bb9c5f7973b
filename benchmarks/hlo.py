"""The bytes and operations of a compiled program, counted in its text, alike for GPU and TPU.

An operation that runs (a fusion, a convolution, a copy, a collective) reads each of its operands
once and writes its result once. If a fusion only looks up parts of an operand, those parts count.
On a TPU, arrays that the compiler keeps in on-chip memory, S(1) in the text, do not count: bytes
are those of the main memory. The body of a loop counts once.
"""

import collections
import dataclasses
import functools
import re

KINDS = ("convolutions", "elementwise", "copies", "collectives")
_BYTES = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2}
_BYTES |= {"s16": 2, "u16": 2, "u8": 1, "s8": 1, "pred": 1}
_FREE = ("parameter", "tuple", "get-tuple-element", "bitcast", "constant", "partition-id")
_COPIES = ("copy", "copy-start", "slice-start", "transpose", "reshape", "slice", "concatenate")
_COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_LOOKS_UP = ("gather", "dynamic-slice", "slice")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?(%[\w.\-]+) = (.*?) ([\w\-]+)\((.*)$")
_COMPUTATION = re.compile(r"^(ENTRY )?(%[\w.\-]+) .*\{$")


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation that the program runs.

    Attributes:
      name: its name in the text.
      kind: one of `KINDS`.
      size: number of bytes that it reads and writes.
      summed: number of bytes that it combines over chips, wherever they lie; 0 but for collectives.
      shape: the shape of its result, as text.
      source: the operation of the model that it comes from.
    """

    name: str
    kind: str
    size: int
    summed: int
    shape: str
    source: str


@dataclasses.dataclass(frozen=True)
class _Instruction:
    name: str
    shape: str
    code: str
    operands: tuple[str, ...]
    line: str


class Program:
    """The text of a compiled program, ``compiled.as_text()``.

    Attributes:
      operations: the operations of the entry computation, or of its loop if ``loop`` is set.
    """

    def __init__(self, text: str, loop: bool = False):
        self._computations = _parse(text)
        entry = self._computations[_entry(text)]
        if loop:
            bodies = [_called(i, "body") for i in entry if i.code == "while"]
            if len(bodies) != 1:
                raise ValueError(f"{len(bodies)} loops in the program; expected one")
            entry = self._computations[bodies[0]]
        self._shapes = {instruction.name: instruction.shape for instruction in entry}
        self.operations = [self._operation(i) for i in entry if self._runs(i)]

    def bytes_by_kind(self) -> dict[str, int]:
        """The number of bytes read and written, for each of `KINDS`."""
        totals = collections.Counter(dict.fromkeys(KINDS, 0))
        for operation in self.operations:
            totals[operation.kind] += operation.size
        return dict(totals)

    def count_by_kind(self) -> dict[str, int]:
        """The number of operations that run, for each of `KINDS`."""
        found = collections.Counter(operation.kind for operation in self.operations)
        return {kind: found[kind] for kind in KINDS}

    def bytes_summed(self) -> int:
        """Bytes that a chip has of what all chips combine, over all collectives."""
        return sum(operation.summed for operation in self.operations)

    def _runs(self, instruction):
        is_library = instruction.code == "custom-call" and "conv" not in instruction.line
        return not (
            instruction.code in _FREE
            or instruction.code.endswith(("-done", "-update"))
            or is_library
        )

    def _operation(self, instruction):
        source = re.search(r'op_name="([^"]*)"', instruction.line)
        kind = self._kind(instruction)
        operands = [self._shapes.get(name, "") for name in instruction.operands]
        return Operation(
            instruction.name,
            kind,
            self._size(instruction),
            sum(_bytes(shape, everywhere=True) for shape in operands if kind == "collectives"),
            instruction.shape,
            source[1] if source else "",
        )

    def _kind(self, instruction):
        code = instruction.code.removesuffix("-start")
        if code in _COLLECTIVES:
            return "collectives"
        if instruction.code in _COPIES:
            return "copies"
        inside = self._inside(instruction)
        convolves = code in ("convolution", "custom-call") or any(
            i.code == "convolution" for i in inside
        )
        return "convolutions" if convolves else "elementwise"

    def _inside(self, instruction):
        return self._computations.get(_called(instruction, "calls"), ())

    def _size(self, instruction):
        shape = instruction.shape
        if instruction.code in ("copy-start", "slice-start"):  # the result names both sides
            sides = re.findall(r"\w+\[[\d,]*\](?:\{[^}]*\})?", shape)[:2]
            moved = sides[instruction.code == "slice-start"]
            return sum(_bytes(moved, everywhere=True) for side in sides if "S(1)" not in side)
        if instruction.code.endswith("-start"):  # its shape names operands and results
            return 2 * sum(_bytes(self._shapes.get(name, "")) for name in instruction.operands)
        read = sum(
            self._read(instruction, number, name)
            for number, name in enumerate(instruction.operands)
        )
        return _bytes(shape) + read

    def _read(self, instruction, number, name):
        """The bytes read of an operand: of one that is only looked up in, the parts looked up."""
        whole = _bytes(self._shapes.get(name, ""))
        if not whole:
            return 0
        users = _users(self._inside(instruction), number)
        if users and all(user.code in _LOOKS_UP for user in users):
            return min(whole, sum(_bytes(user.shape, everywhere=True) for user in users))
        return whole


def _users(inside, number):
    """The instructions in a fusion that use its operand of that number directly."""
    for instruction in inside:
        if instruction.code == "parameter" and instruction.line.find(f"parameter({number})") > 0:
            users = [i for i in inside if instruction.name in i.operands]
            looked_up = all(user.operands[0] == instruction.name for user in users)
            return users if looked_up else []
    return []


def _parse(text):
    """The instructions of each computation of a program."""
    computations, current = {}, None
    for line in text.splitlines():
        header = _COMPUTATION.match(line)
        if header:
            current = computations.setdefault(header[2], [])
        elif current is not None and (match := _INSTRUCTION.match(line)):
            name, shape, code, rest = match.groups()
            operands = tuple(re.findall(r"%[\w.\-]+", rest.split("), ")[0]))
            current.append(_Instruction(name, shape, code, operands, line))
    return computations


def _entry(text):
    return re.search(r"^ENTRY (%[\w.\-]+)", text, re.MULTILINE)[1]


def _called(instruction, how):
    match = re.search(rf"\b{how}=(%[\w.\-]+)", instruction.line)
    return match[1] if match else None


@functools.cache
def _bytes(shape: str, everywhere: bool = False) -> int:
    """The bytes of all arrays in a shape's text, without those in on-chip memory."""
    total = 0
    for kind, sizes, layout in re.findall(r"(\w+)\[([\d,]*)\](\{[^}]*\})?", shape):
        elements = 1
        for size in filter(None, sizes.split(",")):
            elements *= int(size)
        if everywhere or "S(1)" not in layout:
            total += elements * _BYTES.get(kind, 0)
    return total
