#!/usr/bin/env python3
"""Plants known defects into the CUDA kernels, one at a time, and requires that the tests notice each.

  mutate.py BUILD [NAME...]   all of mutants/, or those named; BUILD is the description that CMake writes

Prints a table. Exits 1 when a defect is not noticed, when one that is marked equivalent is, or when the text that a
mutant replaces is not in its file exactly once.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from mutants import MUTANTS, TESTED

LIMIT_S = 300


def planted(mutant, include, folder):
    """A copy of the kernels' headers with the mutant's change."""
    copy = folder / "lisa" / "cuda"
    shutil.copytree(include / "lisa" / "cuda", copy)
    path = copy / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise SystemExit(f"{mutant.name}: found its text {text.count(mutant.old)} times in {mutant.file}, expected once")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def compile_mutant(mutant, build, folder, source, result, options):
    """Nothing, or the static assertion that refused the mutant."""
    # Less optimisation than the tests' own build: compiling is most of the time. Warnings would be noise.
    compiled = run([build["compiler"], "-std=c++20", "-O1", "-g1", "-w", "-DNDEBUG", *options, f"-I{folder}",
                    f"-I{build['include']}", f"-I{build['folder']}", "-c", str(source), "-o", str(result)])
    if compiled.returncode == 0:
        return ""
    line = next((line for line in compiled.stderr.splitlines() if "static assertion failed" in line), None)
    if line is None:
        raise SystemExit(f"{mutant.name}: does not compile\n{compiled.stderr}")
    return line.split("error: ")[-1][:90]


def outcome(mutant, build, folder):
    """("killed" or "survived", how)"""
    planted(mutant, pathlib.Path(build["include"]), folder)
    tested = TESTED[mutant.file]
    mutated, program = folder / "kernels.o", folder / "test"
    source = next(s for s in build["kernel_sources"] if pathlib.Path(s).stem == tested.unit)
    refusal = compile_mutant(mutant, build, folder, source, mutated, ["-fsanitize=thread"])
    if refusal:
        return "killed", refusal
    replaced, made = [tested.unit], [str(mutated)]
    if mutant.host:
        made.append(str(folder / "test.o"))
        replaced.append(tested.test)
        compile_mutant(mutant, build, folder, pathlib.Path(build["folder"]) / f"{tested.test}.cpp", made[-1], [])
    objects = [o for o in build["objects"] if pathlib.Path(o).name.split(".")[0] not in replaced]
    linked = run([build["compiler"], *made, *objects, "-ldl", "-o", str(program)])
    if linked.returncode != 0:
        raise SystemExit(f"{mutant.name}: does not link\n{linked.stderr}")
    try:
        result = run([str(program), f"--test-case={tested.cases}", "--abort-after=1"], timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return "killed", f"still running after {LIMIT_S} s"
    if result.returncode == 0:
        return "survived", ""
    if result.returncode < 0:
        return "killed", f"signal {-result.returncode}"
    logged = [line.strip() for line in result.stdout.splitlines()]
    for words in ("divergent", "outside of all memory", "over the end", "misaligned", "never waited", "nobody waited",
                  "never ends", "that no fence", "a product", "registers", "write against", "read of",
                  "access to a copy"):
        found = next((line for line in logged if words in line), None)
        if found:
            return "killed", found.removeprefix("logged: ").strip()[:90]
    return "killed", "outside of the error bound" if "<= 1.0 )" in result.stdout else "values"


def main(arguments):
    build = json.loads(pathlib.Path(arguments[0]).read_text(encoding="utf-8"))
    wanted = arguments[1:]
    unknown = set(wanted) - {m.name for m in MUTANTS}
    if unknown:
        raise SystemExit(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [m for m in MUTANTS if not wanted or m.name in wanted]
    wrong = killed = equivalent = 0
    print(f"{'mutant':<44} {'file':<24} {'outcome':<10} {'s':>5}  how")
    for mutant in chosen:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            result, how = outcome(mutant, build, pathlib.Path(folder))
        if mutant.equivalent:
            how = how or mutant.equivalent
            equivalent += 1
            wrong += result == "killed"
            result = "equivalent" if result == "survived" else "KILLED"
        else:
            killed += result == "killed"
            wrong += result != "killed"
            result = result if result == "killed" else "SURVIVED"
        print(f"{mutant.name:<44} {mutant.file:<24} {result:<10} {time.monotonic() - start:5.1f}  {how}", flush=True)
    print(f"{killed} of {len(chosen) - equivalent} defects noticed, {equivalent} equivalent")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(sys.argv[1:]))
