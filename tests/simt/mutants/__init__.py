"""Defects for mutate.py, a file for each family of kernels."""

import importlib
import pathlib

_families = [importlib.import_module(f"mutants.{path.stem}") for path in sorted(pathlib.Path(__file__).parent.glob("*.py"))
             if path.stem not in ("__init__", "mutant")]

TESTED = {file: tested for family in _families for file, tested in family.TESTED.items()}
MUTANTS = [mutant for family in _families for mutant in family.MUTANTS]
