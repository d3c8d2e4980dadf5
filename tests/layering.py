#!/usr/bin/env python3
"""Checks which header may include which: rooms are entered downwards only.

  layering.py check INCLUDE_DIR       report every violation, exit 1 if there is one
  layering.py torch-free INCLUDE_DIR  print the headers that reach no libtorch header
  layering.py tensors INCLUDE_DIR     print the headers that reach ATen/core/Tensor.h
  layering.py self-test               plant each kind of violation and require that it is found
"""

import pathlib
import re
import sys
import tempfile

# A room may include itself and what is listed. `model` and the rooms above it see everything below them.
ALLOWED = {
    "base": set(),
    "files": {"base"},
    "config": {"base"},
    "cpu": {"base", "config"},
    "cuda": {"base", "config"},
    "aten": {"config"},
    "quant": {"base", "config", "cpu"},
    "gpu": {"base", "config", "cpu", "cuda", "aten", "quant"},
    "nn": {"base", "config", "cpu", "quant", "gpu", "aten"},
    "llm": {"base", "config", "nn", "cpu", "quant", "gpu", "aten"},
    "vision": {"base", "config", "nn", "cpu", "quant", "gpu", "aten"},
    "sam": {"base", "config", "nn", "cpu", "quant", "gpu", "aten"},
    "text": {"base", "config", "files"},
    "image": {"base", "config", "files", "aten", "gpu"},
    "checkpoint": {"base", "config", "files"},
    "model": {"base", "files", "config", "cpu", "gpu", "aten", "quant", "nn", "llm", "vision", "sam", "text", "image",
              "checkpoint"},
    "data": {"base", "config", "files", "text", "image", "checkpoint"},
}
ALLOWED["eval"] = {*ALLOWED["model"], "model", "data"}
ALLOWED["train"] = {*ALLOWED["eval"], "eval"}
# The rooms beside the model may know how a module names its tensors, nothing else of nn.
PARAMETER_HEADER = "lisa/nn/parameter.hpp"
PARAMETER_READERS = {"text", "image", "checkpoint"}

# Headers in the root of include/lisa: the umbrella may include everything, version.hpp may be included by everyone.
UMBRELLA = "lisa/lisa.hpp"
VERSION = "lisa/version.hpp"

# Untrusted bytes are parsed without libtorch in reach: whole rooms, and the parsers of mixed rooms.
TORCH_FREE_ROOMS = {"base", "config", "cuda", "files", "data"}
TORCH_FREE_HEADERS = {
    "lisa/checkpoint/checkpoint_folder.hpp",
    "lisa/checkpoint/finite.hpp",
    "lisa/checkpoint/safetensors_header.hpp",
    "lisa/checkpoint/safetensors_writer.hpp",
    "lisa/checkpoint/sharded_writer.hpp",
    "lisa/checkpoint/stored_tensor.hpp",
    "lisa/checkpoint/tensor_file.hpp",
    "lisa/checkpoint/torch_pickle.hpp",
    "lisa/checkpoint/torch_writer.hpp",
    "lisa/checkpoint/zip_archive.hpp",
}

TORCH = re.compile(r"^(ATen|c10|torch|caffe2)/")
TENSOR = re.compile(r"^ATen/core/Tensor\.h$")
# Each of these pulls in every operator there is.
BANNED = {"torch/torch.h", "torch/extension.h", "ATen/ATen.h", "ATen/Functions.h", "ATen/TensorOperators.h"}
# The generated header of an operator reaches the interpreter's value types: two seconds of every user's compile time.
# Those of the entry points, and the two that are written by hand, do not. Training reaches the value types by itself.
GENERATED_OPERATOR = re.compile(r"^ATen/ops/(?!(tensor|from_blob)\.h$)(?!\w*_ops\.h$)")
OPERATORS = "lisa/aten/operators.hpp"
READERS_OF_GENERATED_OPERATORS = {"train"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def read_includes(root):
    """Header name -> [(quote or bracket, included name)] for every header under root."""
    return {
        path.relative_to(root).as_posix(): INCLUDE.findall(path.read_text(encoding="utf-8"))
        for path in sorted((root / "lisa").rglob("*"))
        if path.suffix in {".hpp", ".cuh", ".cu"}
    }


def room_of(header):
    parts = header.split("/")
    return parts[1] if len(parts) > 2 else ""


def reaches_torch(header, includes, torch=TORCH):
    """The chain of headers from `header` to a libtorch header that matches, or None."""
    pending, seen = [[header]], {header}
    while pending:
        chain = pending.pop(0)
        for _, name in includes.get(chain[-1], []):
            if torch.match(name):
                return chain + [name]
            if name in includes and name not in seen:
                seen.add(name)
                pending.append(chain + [name])
    return None


def arrow_allowed(header, name):
    room, target = room_of(header), room_of(name)
    if header == UMBRELLA or name == VERSION or room == target:
        return name != UMBRELLA
    if name == PARAMETER_HEADER and room in PARAMETER_READERS:
        return True
    return target in ALLOWED.get(room, set())


def violations(root):
    includes = read_includes(root)
    found = [f"{name}: listed as torch-free in layering.py, but there is no such header"
             for name in sorted(TORCH_FREE_HEADERS - includes.keys())]
    for header, names in includes.items():
        room = room_of(header)
        if room and room not in ALLOWED:
            found.append(f"{header}: room '{room}' has no line in layering.py; expected one of {sorted(ALLOWED)}")
        for kind, name in names:
            if name in BANNED:
                found.append(f"{header}: includes <{name}>; expected {OPERATORS} or a tensor's method")
            if GENERATED_OPERATOR.match(name) and room not in READERS_OF_GENERATED_OPERATORS:
                found.append(f"{header}: includes <{name}>; expected {OPERATORS} or a tensor's method")
            if not name.startswith("lisa/"):
                continue
            if kind == "<":
                found.append(f'{header}: includes <{name}>; expected "{name}"')
            if name not in includes:
                found.append(f"{header}: includes {name}, which does not exist")
            elif not arrow_allowed(header, name):
                found.append(f"{header}: includes {name}, an arrow upwards or sideways from room '{room}'")
        if room in TORCH_FREE_ROOMS or header in TORCH_FREE_HEADERS:
            chain = reaches_torch(header, includes)
            if chain:
                found.append(f"{header}: must stay free of libtorch, but reaches it: {' -> '.join(chain)}")
    return found


def self_test():
    """Each planted header must be reported with the given words, the sound tree with nothing."""
    sound = {
        "base/error.hpp": "#include <string>",
        "config/llama.hpp": '#include "lisa/base/error.hpp"',
        "nn/parameter.hpp": "#include <ATen/core/Tensor.h>\n#include <ATen/ops/tensor.h>",
        "nn/operators.hpp": "#include <ATen/ops/cat_ops.h>",
        "checkpoint/load.hpp": '#include "lisa/nn/parameter.hpp"',
        "model/lisa.hpp": '#include "lisa/checkpoint/load.hpp"',
        "lisa.hpp": '#include "lisa/model/lisa.hpp"',
    }
    planted = [
        ("config/upwards.hpp", '#include "lisa/nn/parameter.hpp"', "an arrow upwards"),
        ("checkpoint/sideways.hpp", '#include "lisa/model/lisa.hpp"', "an arrow upwards"),
        ("nn/umbrella.hpp", '#include "lisa/lisa.hpp"', "an arrow upwards"),
        ("base/tensor.hpp", "#include <c10/core/Device.h>", "free of libtorch"),
        ("cuda/kernel.cu", "#include <ATen/core/Tensor.h>", "free of libtorch"),
        ("nn/everything.hpp", "#  include <ATen/ATen.h>", "a tensor's method"),
        ("nn/operator.hpp", "#include <ATen/ops/cat.h>", "a tensor's method"),
        ("nn/brackets.hpp", "#include <lisa/nn/parameter.hpp>", 'expected "lisa/nn/parameter.hpp"'),
        ("nn/missing.hpp", '#include "lisa/nn/absent.hpp"', "does not exist"),
        ("attic/stray.hpp", "#include <string>", "has no line"),
    ]
    failures = []
    for extra in [None, *planted]:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in [*sound.items(), *([extra[:2]] if extra else [])]:
                path = root / "lisa" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text + "\n", encoding="utf-8")
            found = [line for line in violations(root) if "listed as torch-free" not in line]
        expected = [extra] if extra else []
        if len(found) < len(expected) or (not extra and found):
            failures.append(f"{extra}: found {found}")
        elif extra and not any(line.startswith(f"lisa/{extra[0]}:") and extra[2] in line for line in found):
            failures.append(f"{extra}: found {found}")
    print("\n".join(failures) or f"{len(planted)} planted violations found, none in the sound tree")
    return 1 if failures else 0


def main(arguments):
    if arguments == ["self-test"]:
        return self_test()
    if len(arguments) != 2 or arguments[0] not in {"check", "torch-free", "tensors"}:
        print(__doc__, file=sys.stderr)
        return 2
    root = pathlib.Path(arguments[1])
    if arguments[0] == "torch-free":
        includes = read_includes(root)
        print("\n".join(header for header in includes if not reaches_torch(header, includes)))
        return 0
    if arguments[0] == "tensors":
        includes = read_includes(root)
        print("\n".join(header for header in includes if reaches_torch(header, includes, TENSOR)))
        return 0
    found = violations(root)
    print("\n".join(found) or "all include arrows point downwards")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
