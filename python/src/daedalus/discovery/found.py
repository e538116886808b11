"""What a finder of patterns takes and gives."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from daedalus.discovery.parts import Part, Place
from daedalus.discovery.source import Source


@dataclass(frozen=True)
class Found:
    """One occurrence: its line, and code that may stand there instead, when that can be worked out."""

    line: int
    after: str | None = None


@dataclass
class Look:
    """What a finder may ask for about the node that it gets."""

    source: Source
    part: Part
    place: Place = field(default_factory=Place)
    #: Calls whose result is closed by somebody: `with open(...)`, `return open(...)`.
    managed: set[int] = field(default_factory=set)


#: Looks at one node of the types that its pattern names.
FindNode = Callable[[ast.AST, Look], Iterator[Found]]
#: Looks at a component as a whole.
FindPart = Callable[[Look], Iterator[Found]]
