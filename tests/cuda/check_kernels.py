#!/usr/bin/env python3
"""Compiles the CUDA kernels for one architecture, without a GPU, and holds what came out against budget.json.

  check_kernels.py check NVCC CXX INCLUDE ARCHITECTURE     e.g. sm_90a; exits 1 with a line for each thing that is wrong
  check_kernels.py record NVCC CXX INCLUDE ARCHITECTURE... writes budget.json as the kernels are now
  check_kernels.py self-test NVCC CXX                      a kernel that spills must be refused, and a budget that is exceeded

A file named for an architecture (name_sm90a.cu) is compiled for that one only, all others for each.

Warnings, spills and any use of local memory are errors. Registers, static shared memory and machine code are read from the
cubin, an ELF file: an instruction has 16 bytes, its lowest 12 bits name the operation, bits 73 to 75 the width of an access.
How much dynamic shared memory a launch asks for is what shared_memory.cpp prints; no block may have more than its machine.
"""

import collections
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

BUDGET = pathlib.Path(__file__).parent / "budget.json"
SHARED_MEMORY = pathlib.Path(__file__).parent / "shared_memory.cpp"

# Shared memory of a block, KiB, and of it what the system takes of each block that has any (CUDA's programming guide).
MOST_SHARED = {"sm_80": 163, "sm_86": 99, "sm_89": 99, "sm_90a": 227, "sm_100a": 227}
SYSTEM_SHARED = {"sm_90a": 1024, "sm_100a": 1024}

# The same on sm_80, 86, 89, 90a and 100a, where they exist. Products of warpgroups have two forms: with the left operand
# in shared memory, and in registers.
OPERATIONS = {
    0x23C: "HMMA", 0x83B: "LDSM", 0xFAE: "LDGSTS", 0x981: "LDG", 0x986: "STG", 0x984: "LDS", 0x388: "STS", 0xB1D: "BAR",
    0x983: "LDL", 0x387: "STL", 0x9F0: "HGMMA.shared", 0xDF0: "HGMMA.registers", 0x5B4: "UTMALDG",
}
WIDTHS = {"LDG", "STG", "LDS", "STS"}
WIDE = 6  # 128 bit

# Attributes of a kernel in the section .nv.info.KERNEL, and of all kernels in .nv.info.
REGISTERS, FRAME = 0x2F, 0x11


def sections(cubin):
    """name -> (bytes, info field, link field)"""
    offset, = struct.unpack_from("<Q", cubin, 0x28)
    size, count, names = struct.unpack_from("<HHH", cubin, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", cubin, offset + i * size) for i in range(count)]
    strings = headers[names][4]
    found = {}
    for name, kind, _, _, start, length, link, info, _, _ in headers:
        text = cubin[strings + name:cubin.index(b"\0", strings + name)].decode()
        no_bits = 8  # a section that takes room when the program runs, but none in the file
        found[text] = (b"\0" * length if kind == no_bits else cubin[start:start + length], info, link)
    return found


def symbol_names(parts):
    table, strings = parts[".symtab"][0], parts[".strtab"][0]
    return [strings[name:strings.index(b"\0", name)].decode()
            for name, *_ in struct.iter_unpack("<IBBHQQ", table)]


def attributes(section):
    """(attribute, payload) of an .nv.info section"""
    at = 0
    while at + 4 <= len(section):
        form, attribute, value = struct.unpack_from("<BBH", section, at)
        at += 4
        has_payload = 4
        if form == has_payload:
            yield attribute, section[at:at + value]
            at += value


def read_cubin(path):
    """kernel -> what it uses"""
    parts = sections(path.read_bytes())
    names = symbol_names(parts)
    per_symbol = collections.defaultdict(dict)
    for attribute, payload in attributes(parts[".nv.info"][0]):
        if attribute in (REGISTERS, FRAME) and len(payload) == 8:
            symbol, value = struct.unpack("<II", payload)
            per_symbol[names[symbol]][attribute] = value
    kernels = {}
    for name, (code, _, _) in parts.items():
        if not name.startswith(".text."):
            continue
        symbol = name.removeprefix(".text.")
        counts = collections.Counter()
        for low, high in struct.iter_unpack("<QQ", code):
            operation = OPERATIONS.get(low & 0xFFF)
            if operation:
                counts[operation] += 1
                if operation in WIDTHS and (high >> 9 & 7) == WIDE:
                    counts[operation + ".128"] += 1
        kernels[readable(symbol)] = {
            "registers": per_symbol[symbol].get(REGISTERS),
            "stack": per_symbol[symbol].get(FRAME, 0),
            "static_shared": len(parts.get(".nv.shared." + symbol, (b"",))[0]),
            "code": {key: counts[key] for key in sorted(counts)},
        }
    return kernels


def readable(symbol):
    """A kernel's name with its template arguments, from the mangled name; enough to tell the project's kernels apart."""
    name = re.match(r"_ZN4lisa4cuda\d+(\w+?_kernel)", symbol)
    if not name:
        return symbol
    element = next((e for e in ("Bf16", "Fp16") if e in symbol), "float" if "kernelIf" in symbol else "")
    weights = re.search(r"(Element|Int8|Int4)Weights", symbol)
    rounding = re.search(r"MaskRoundingE(\d)", symbol)
    arguments = [element, weights and weights[1], *re.findall(r"Li(\d+)E", symbol),
                 rounding and ("composed", "two_step")[int(rounding[1])]]
    arguments = [a for a in arguments if a]
    return name[1] + (f"<{', '.join(arguments)}>" if arguments else "")


def compile_kernel(nvcc, compiler, include, source, architecture, cubin):
    return subprocess.run(
        [nvcc, "-ccbin", compiler, "-std=c++20", f"-arch={architecture}", "-cubin", "-Werror", "all-warnings", "-Xcompiler",
         "-Wall,-Wextra,-Werror", "-Xptxas", "--warning-as-error,-warn-spills,-warn-lmem-usage,-warn-double-usage",
         f"-I{include}", str(source), "-o", str(cubin)],
        capture_output=True, text=True, check=False)


def dynamic_shared(compiler, include, folder):
    """kernel -> bytes that its launcher asks for, at most"""
    program = pathlib.Path(folder) / "shared_memory"
    subprocess.run([compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", f"-I{include}",
                    str(SHARED_MEMORY), "-o", str(program)], check=True)
    printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {name: int(size) for name, size in (line.split("\t") for line in printed.splitlines())}


def add_dynamic_shared(kernels, sizes, architecture):
    """Puts what launches ask for beside what the code uses; what is wrong about it."""
    wrong = [f"{name}: {SHARED_MEMORY.name} does not know it" for name in sorted(kernels.keys() - sizes.keys())]
    wrong += [f"{name}: {SHARED_MEMORY.name} prints it, but there is no such kernel"
              for name in sorted(sizes.keys() - kernels.keys())
              if "_sm90a" not in name or architecture == "sm_90a"]
    for name, used in kernels.items():
        used["dynamic_shared"] = sizes.get(name, 0)
        own = max(0, used["static_shared"] - SYSTEM_SHARED.get(architecture, 0)) + used["dynamic_shared"]
        if own > MOST_SHARED[architecture] * 1024:
            wrong.append(f"{name}: found {own} bytes of shared memory, expected at most {MOST_SHARED[architecture]} KiB, "
                         f"all that a block of {architecture} has")
    return wrong


def is_for(source, architecture):
    named = re.search(r"_sm(\d+\w?)$", source.stem)
    return named is None or architecture == f"sm_{named[1]}"


def compile_all(nvcc, compiler, include, architecture, folder):
    """(kernel -> what it uses, what went wrong)"""
    kernels, wrong = {}, []
    for source in sorted(pathlib.Path(include, "lisa/cuda").glob("*.cu")):
        if not is_for(source, architecture):
            continue
        cubin = pathlib.Path(folder) / (source.stem + ".cubin")
        result = compile_kernel(nvcc, compiler, include, source, architecture, cubin)
        if result.returncode != 0:
            wrong.append(f"{source.name} for {architecture}:\n{result.stdout}{result.stderr}")
        else:
            kernels.update(read_cubin(cubin))
    if not wrong:
        wrong = add_dynamic_shared(kernels, dynamic_shared(compiler, include, folder), architecture)
    return kernels, wrong


def differences(kernels, budget):
    """What exceeds the budget, or is no longer done as it says."""
    wrong = [f"{name}: is in the budget, not in the code" for name in budget.keys() - kernels.keys()]
    for name, used in kernels.items():
        allowed = budget.get(name)
        if allowed is None:
            wrong.append(f"{name}: has no budget")
            continue
        if used["registers"] is None or used["registers"] > allowed["registers"]:
            wrong.append(f"{name}: found {used['registers']} registers, expected at most {allowed['registers']}")
        if used["stack"] != 0:
            wrong.append(f"{name}: found {used['stack']} bytes of stack, expected none")
        for kind in ("static", "dynamic"):
            found, most = used[f"{kind}_shared"], allowed[f"{kind}_shared"]
            if found > most:
                wrong.append(f"{name}: found {found} bytes of {kind} shared memory, expected at most {most}")
        for operation in ("LDL", "STL"):
            if used["code"].get(operation, 0) != 0:
                wrong.append(f"{name}: found {used['code'][operation]} {operation}, expected none")
        for operation, least in allowed["at_least"].items():
            if used["code"].get(operation, 0) < least:
                wrong.append(f"{name}: found {used['code'].get(operation, 0)} {operation}, expected at least {least}")
    return wrong


def check(nvcc, compiler, include, architecture):
    with tempfile.TemporaryDirectory() as folder:
        kernels, wrong = compile_all(nvcc, compiler, include, architecture, folder)
    budget = json.loads(BUDGET.read_text(encoding="utf-8")).get(architecture)
    if budget is None:
        wrong.append(f"{architecture} has no budget in {BUDGET.name}")
    elif not wrong:
        wrong += differences(kernels, budget)
    print("\n".join(wrong) or f"{len(kernels)} kernels for {architecture} within their budgets")
    return 1 if wrong else 0


def record(nvcc, compiler, include, *architectures):
    budget = json.loads(BUDGET.read_text(encoding="utf-8")) if BUDGET.exists() else {}
    for architecture in architectures:
        with tempfile.TemporaryDirectory() as folder:
            kernels, wrong = compile_all(nvcc, compiler, include, architecture, folder)
        if wrong:
            print("\n".join(wrong))
            return 1
        budget[architecture] = {
            name: {
                "registers": used["registers"],
                # From sm_90 on 1 KiB of every block is the system's; the kernels' own is dynamic.
                "static_shared": used["static_shared"],
                "dynamic_shared": used["dynamic_shared"],
                # What the kernel is made of; loads and stores of single words are not worth a lower limit.
                "at_least": {key: used["code"][key]
                             for key in ("HMMA", "HGMMA.shared", "HGMMA.registers", "LDSM", "LDGSTS", "UTMALDG", "BAR",
                                         "LDG.128", "STG.128", "LDS.128")
                             if used["code"].get(key)},
            } for name, used in sorted(kernels.items())
        }
    BUDGET.write_text(json.dumps(budget, indent=1) + "\n", encoding="utf-8")
    return 0


SPILLING = """
__global__ void __launch_bounds__(1024, 2) spills(float* out, const float* in, int n) {
  float r[96];
#pragma unroll
  for (int i = 0; i < 96; ++i) r[i] = in[i * 1024 + threadIdx.x];
  for (int j = 0; j < n; ++j) {
#pragma unroll
    for (int i = 0; i < 96; ++i) r[i] = r[i] * r[(i + 7) % 96] + 1.f;
  }
#pragma unroll
  for (int i = 0; i < 96; ++i) out[i * 1024 + threadIdx.x] = r[i];
}
"""
SOUND = """
__global__ void sound(uint4* out, const uint4* in) { out[threadIdx.x] = in[threadIdx.x]; }
"""


def self_test_shared(kernels, name):
    """What was not noticed about the dynamic shared memory of the one kernel, which has 99 KiB afterwards."""
    wrong = []
    for sizes, architecture, words in (
            ({}, "sm_86", "does not know it"), ({name: 0, "gone": 0}, "sm_86", "no such kernel"),
            ({name: 0, "gone_sm90a": 0}, "sm_86", None), ({name: 0, "gone_sm90a": 0}, "sm_90a", "no such kernel"),
            ({name: 99 * 1024 + 1}, "sm_86", "99 KiB"), ({name: 99 * 1024 + 1}, "sm_80", None),
            ({name: 227 * 1024 + 1}, "sm_90a", "227 KiB"), ({name: 99 * 1024}, "sm_86", None)):
        found = add_dynamic_shared(kernels, sizes, architecture)
        if (found != [] if words is None else len(found) != 1 or words not in found[0]):
            wrong.append(f"found {found} for {sizes} on {architecture}")
    return wrong


def self_test(nvcc, compiler):
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = pathlib.Path(folder) / "kernel.cu", pathlib.Path(folder) / "kernel.cubin"
        source.write_text(SPILLING, encoding="utf-8")
        if compile_kernel(nvcc, compiler, folder, source, "sm_80", cubin).returncode == 0:
            wrong.append("a kernel that spills was not refused")
        source.write_text(SOUND, encoding="utf-8")
        result = compile_kernel(nvcc, compiler, folder, source, "sm_80", cubin)
        if result.returncode != 0:
            return "\n".join([*wrong, "a sound kernel was refused", result.stderr])
        kernels = read_cubin(cubin)
    (name, used), = kernels.items()
    wrong += self_test_shared(kernels, name)
    fair = {name: {"registers": used["registers"], "static_shared": 0, "dynamic_shared": 99 * 1024,
                   "at_least": {"LDG.128": 1, "STG.128": 1}}}
    if differences(kernels, fair):
        wrong.append(f"found {differences(kernels, fair)} in a kernel within its budget")
    for change, words in (({"registers": used["registers"] - 1}, "registers"), ({"at_least": {"LDG.128": 2}}, "LDG.128"),
                          ({"dynamic_shared": 99 * 1024 - 1}, "dynamic shared")):
        found = differences(kernels, {name: {**fair[name], **change}})
        if len(found) != 1 or words not in found[0]:
            wrong.append(f"found {found} for a budget with {change}")
    own = [a for a in ("sm_80", "sm_90", "sm_90a", "sm_100a") if is_for(pathlib.Path("name_sm90a.cu"), a)]
    if own != ["sm_90a"] or not is_for(pathlib.Path("name.cu"), "sm_80"):
        wrong.append(f"a file for sm_90a was taken for {own}")
    if len(differences(kernels, {})) != 1 or len(differences({}, fair)) != 1:
        wrong.append("a kernel without a budget, or a budget without a kernel, was not noticed")
    print("\n".join(wrong) or "spills and exceeded budgets are noticed")
    return 1 if wrong else 0


def main(arguments):
    commands = {"check": (check, 5), "record": (record, 5), "self-test": (self_test, 3)}
    if not arguments or arguments[0] not in commands or len(arguments) < commands[arguments[0]][1]:
        print(__doc__, file=sys.stderr)
        return 2
    return commands[arguments[0]][0](*arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
