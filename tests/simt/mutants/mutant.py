"""What a defect is, and what notices it."""

import dataclasses


@dataclasses.dataclass
class Tested:
    """How a file of the kernels is tested."""

    unit: str  # the *_kernels.cpp that includes it
    cases: str  # doctest's pattern of the cases that run it
    test: str = ""  # the *_test.cpp that calls what its launcher computes, for defects of that


@dataclasses.dataclass
class Mutant:
    """Where, which text, what it becomes. The text is in its file exactly once."""

    name: str
    file: str
    old: str
    new: str
    equivalent: str = ""  # why no test could notice
    host: bool = False  # changes what a launcher computes, which the tests call too
