"""Prompt and steps of LLaMA-7B's blocks in llama.cpp, on random weights: the peer of llm_bench.

`./dev compare llama_cpp` builds llama.cpp from the source package of llama-cpp-python at PyPI and runs this:

    build/peers/bin/python bench/compare/llama_cpp.py --programs build/llama.cpp/bin --threads 2

Prints a JSON line for each format: milliseconds of a prompt of 316 rows and of one token behind 316 positions, through
--blocks blocks, the head included; the mean and deviation of --repeat runs.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import gguf
import numpy as np

HIDDEN, MLP, HEADS, VOCAB, CONTEXT = 4096, 11008, 32, 32003, 2048
PROMPT = 316
STEPS = 32


def random_bf16(rows, columns, random):
    """Normal numbers of deviation 0.02, as the bytes of bf16 numbers."""
    values = random.standard_normal((rows, columns), dtype=np.float32) * np.float32(0.02)
    return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)


def write_model(path, blocks):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(blocks)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("none")
    random = np.random.default_rng(0)

    def matrix(name, rows, columns):
        writer.add_tensor(name, random_bf16(rows, columns, random), raw_dtype=gguf.GGMLQuantizationType.BF16)

    def norm(name):
        writer.add_tensor(name, np.ones(HIDDEN, dtype=np.float32))

    matrix("token_embd.weight", VOCAB, HIDDEN)
    for block in range(blocks):
        prefix = f"blk.{block}."
        norm(prefix + "attn_norm.weight")
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"{prefix}{name}.weight", HIDDEN, HIDDEN)
        norm(prefix + "ffn_norm.weight")
        matrix(prefix + "ffn_gate.weight", MLP, HIDDEN)
        matrix(prefix + "ffn_up.weight", MLP, HIDDEN)
        matrix(prefix + "ffn_down.weight", HIDDEN, MLP)
    norm("output_norm.weight")
    matrix("output.weight", VOCAB, HIDDEN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def run(*command):
    """Standard output of a program, which ends this one with its own last words when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def made(path, make):
    """`path`, which `make` writes unless it is there; an unfinished file never has its name."""
    if not path.exists():
        unfinished = path.with_suffix(".unfinished")
        make(unfinished)
        unfinished.rename(path)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="folder of llama-bench and llama-quantize")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp/llama-cpp-random"))
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--formats", default="BF16,Q8_0,Q4_0")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    source = made(chosen.folder / f"blocks-{chosen.blocks}-BF16.gguf", lambda path: write_model(path, chosen.blocks))
    for name in chosen.formats.split(","):
        model = made(chosen.folder / f"blocks-{chosen.blocks}-{name}.gguf",
                     lambda path: run(chosen.programs / "llama-quantize", "--pure", source, path, name, str(chosen.threads)))
        line = {"peer": "llama.cpp", "format": name, "blocks": chosen.blocks, "threads": chosen.threads}
        for measure, test in (("prompt", ["-p", str(PROMPT), "-n", "0"]),
                              ("step", ["-p", "0", "-n", str(STEPS), "-d", str(PROMPT)])):
            printed = run(chosen.programs / "llama-bench", "-m", model, "-t", str(chosen.threads), "-r",
                          str(chosen.repeat), "-o", "json", *test)
            result = json.loads(printed)[0]
            runs = np.array(result["samples_ns"]) * 1e-6 / (1 if measure == "prompt" else STEPS)
            line[measure + "_ms"] = round(float(runs.mean()), 2)
            line[measure + "_deviation_ms"] = round(float(runs.std()), 2)
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
