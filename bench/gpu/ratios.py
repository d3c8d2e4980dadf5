#!/usr/bin/env python3
"""The table of docs/performance.md, "On a GPU": the library beside its peers, from the output of the programs that time them.

  bench/gpu/ratios.py build/logs/bench_gpu.log build/logs/compare-*.log end_to_end.log

Takes what bench_gpu prints, the JSON lines of bench/compare with --device cuda, and the tables of bench/end_to_end --device
cuda, in any order; of what was measured twice, the last. What is in none of the files is "not yet measured". `self-test`
in place of the files runs the program on known ones.
"""
import json
import re
import sys

UNMEASURED = "not yet measured"
ORIGINAL, SDPA = "transformers eager", "transformers sdpa"

# A measure of the table, the library's goal for it on an H200, where its time stands, and its peers: what they are called and
# where theirs stand. A place is a title of bench_gpu with a contender's name, or measure, peer and shape of a JSON line.
SAM, SCORES, DENSE = "SAM-H, whole encoder, 1 picture, bf16", "the original's operators", "ATen SDPA, dense bias built"
ATEN, GIVEN = "ATen's operators, SDPA", "ATen SDPA, dense bias given"
GRID, WINDOWS = "SAM-H, whole grid, 16 heads of 80, bf16", "SAM-H, windows of 14, 16 heads of 80, bf16"
PROMPT = "LLaMA-7B, bf16, prompt of 316 positions"


def masks(count):
    title = f"{count} masks, 256 x 256 to 3840 x 2160"
    return (title, "lisa::cuda, bits on the CPU"), [
        ("ATen, bytes to the CPU", (title, "ATen, bytes on the CPU")),
        ("the original: fp32 to the CPU, threshold there", ("mask_output", "torch + numpy", f"{count} masks 3840x2160"))]


def step(form):
    title = f"LLaMA-7B, {form}, a step behind 316 positions"
    peers = [("the library's steps without a graph", (title, "lisa, operator after operator"))]
    if form == "bf16":
        peers.append((ATEN, (title, ATEN)))
    return (title, "lisa, one CUDA graph"), peers + [
        ("Hugging Face, bf16, cache", ("whole_step", SDPA, "context 316"))]


def answer(tokens):
    shape = f"{tokens} tokens"
    return ("end to end", shape), [("Hugging Face, cache", ("end_to_end", "transformers, cache", shape)),
                                   ("the original's algorithm", ("end_to_end", "transformers, original", shape))]


MEASURES = [
    ("SAM-H encoder, bf16, 1 picture", "at most 9.5 ms", (SAM, "lisa"),
     [(DENSE, (SAM, DENSE)), (SCORES, (SAM, SCORES)),
      ("Hugging Face, SDPA", ("sam_vit_h_encoder", SDPA, "1x3x1024x1024")),
      ("Hugging Face, eager", ("sam_vit_h_encoder", ORIGINAL, "1x3x1024x1024"))]),
    ("its attention, whole grid, heads of 80", "", (GRID, "lisa::cuda"),
     [(GIVEN, (GRID, GIVEN)), (SCORES, (GRID, SCORES))]),
    ("its attention, windows", "at most 0.02 ms", (WINDOWS, "lisa::cuda"),
     [(GIVEN, (WINDOWS, GIVEN)), (SCORES, (WINDOWS, SCORES))]),
    ("one whole window block", "", ("SAM-H, a window block, bf16", "lisa"),
     [(DENSE, ("SAM-H, a window block, bf16", DENSE)), (SCORES, ("SAM-H, a window block, bf16", SCORES))]),
    ("LLaMA-7B, prompt of 316, bf16", "at most 7.5 ms", (PROMPT, "lisa"),
     [(ATEN, (PROMPT, ATEN)), ("Hugging Face", ("whole_prompt", SDPA, "316 rows"))]),
    ("LLaMA-7B, a step, bf16", "290 tokens/s", *step("bf16")),
    ("LLaMA-7B, a step, int8", "520 tokens/s", *step("int8")),
    ("LLaMA-7B, a step, int4", "850 tokens/s", *step("int4")),
    ("LLaMA-7B, a step, int4 by 128", "850 tokens/s", *step("int4-128")),
    ("1 mask to 3840 x 2160, bits on the host", "10 x the original", *masks(1)),
    ("16 masks to 3840 x 2160, bits on the host", "50 x the original", *masks(16)),
    ("LISA-7B, answer of 7 tokens", "at most 33 ms", *answer(7)),
    ("LISA-7B, answer of 30 tokens", "at most 115 ms", *answer(30)),
]

CONTENDER = re.compile(r"  (?P<name>\S.*?) +median +(?P<ms>[0-9.]+) ms, min")
ANSWER = re.compile(r"\| (?P<tokens>\d+ tokens) \| .* \| (?P<ms>[0-9.]+) ms \| [0-9.]+ \| [0-9.]+ \|")


def times_of(text):
    """Milliseconds by place."""
    times, title = {}, ""
    for line in text.splitlines():
        if contender := CONTENDER.match(line):
            times[title, contender["name"]] = float(contender["ms"])
        elif whole := ANSWER.match(line):
            times["end to end", whole["tokens"]] = float(whole["ms"])
        elif line.startswith('{"measure"'):
            record = json.loads(line)
            if record.get("device") == "cuda" and record["dtype"] in ("bf16", "fp32"):
                # SAM is compared in bf16; what has an fp32 line alone is compared with that.
                place = record["measure"], record["peer"], record["shape"]
                if record["dtype"] == "bf16" or place not in times:
                    times[place] = record["ms"]
        else:
            title = line.strip()
    return times


def in_words(ms, measure):
    if ms is None:
        return UNMEASURED
    return f"{ms:.3g} ms" + (f", {1e3 / ms:.0f} tokens/s" if "a step" in measure else "")


def table(times):
    lines = ["| measure | goal | lisa | peer | peer's | lisa is |", "|---|---|---|---|---|---|"]
    for measure, goal, own, peers in MEASURES:
        mine = times.get(own)
        for i, (peer, place) in enumerate(peers):
            theirs = times.get(place)
            ratio = f"{theirs / mine:.2f} x" if mine and theirs else UNMEASURED
            first = (measure, goal, in_words(mine, measure)) if i == 0 else ("", "", "")
            lines.append("| " + " | ".join([*first, peer, in_words(theirs, measure), ratio]) + " |")
    return "\n".join(lines)


def self_test():
    known = "\n".join([
        "NVIDIA H200, sm_90, CUDA 13000, libtorch 2.11.0", SAM,
        "  lisa                                         median    9.0000 ms, min    8.9000, max    9.1000",
        "  ATen SDPA, dense bias built                  median   18.0000 ms, min   17.0000, max   19.0000",
        "LLaMA-7B, int8, a step behind 316 positions",
        "  lisa, one CUDA graph                         median    2.0000 ms, min    1.9, max    2.1; 500.0 tokens a second",
        '{"measure": "whole_step", "peer": "transformers sdpa", "shape": "context 316", "dtype": "bf16", "device": "cuda", '
        '"ms": 24.0}',
        '{"measure": "sam_vit_h_encoder", "peer": "transformers sdpa", "shape": "1x3x1024x1024", "dtype": "bf16", "device": '
        '"cpu", "ms": 20000}',
        '{"measure": "sam_vit_h_encoder", "peer": "transformers eager", "shape": "1x3x1024x1024", "dtype": "bf16", "device": '
        '"cuda", "ms": 45}',
        '{"measure": "sam_vit_h_encoder", "peer": "transformers eager", "shape": "1x3x1024x1024", "dtype": "fp32", "device": '
        '"cuda", "ms": 99}',
        "| 7 tokens | preprocess 1.00, upsample 2.00 | 30.00 ms | 29.00 | 31.00 |"])
    found = table(times_of(known)).splitlines()
    for line in (f"| SAM-H encoder, bf16, 1 picture | at most 9.5 ms | 9 ms | {DENSE} | 18 ms | 2.00 x |",
                 f"|  |  |  | Hugging Face, SDPA | {UNMEASURED} | {UNMEASURED} |",
                 "|  |  |  | Hugging Face, eager | 45 ms | 5.00 x |",
                 "|  |  |  | Hugging Face, bf16, cache | 24 ms, 42 tokens/s | 12.00 x |",
                 f"| LISA-7B, answer of 7 tokens | at most 33 ms | 30 ms | Hugging Face, cache | {UNMEASURED} | {UNMEASURED} |"):
        if line not in found:
            sys.exit("not in the table: " + line + "\n" + "\n".join(found))
    if table({}).count("ms |") != sum(goal.endswith("ms") for _, goal, _, _ in MEASURES):
        sys.exit("a number in the table of nothing:\n" + table({}))


def require_places(source):
    """Titles and names that the table looks for must be those that the benches print, as far as they are literals there."""
    missing = [text for text in (SAM, SCORES, DENSE, ATEN, GIVEN, GRID, WINDOWS, "SAM-H, a window block, bf16",
                                 "lisa, one CUDA graph", "lisa, operator after operator", "prompt of 316 positions",
                                 "a step behind 316 positions", "lisa::cuda, bits on the CPU", "ATen, bytes on the CPU",
                                 " masks, 256 x 256 to 3840 x 2160") if f'{text}"' not in source]
    if missing:
        sys.exit("no bench prints: " + "; ".join(missing))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["self-test"]:
        self_test()
        require_places("".join(open(path, encoding="utf-8").read() for path in arguments[1:]))
    else:
        print(table(times_of("\n".join(open(path, encoding="utf-8").read() for path in arguments))))
