"""Prompt and steps of LLaMA-7B's blocks in llama.cpp, on random weights: the peer of llm_bench.

`./dev compare llama_cpp` builds llama.cpp from the source package of llama-cpp-python at PyPI and runs this:

    build/peers/bin/python bench/compare/llama_cpp.py --programs build/llama.cpp/bin --threads 2

Prints a JSON line for each format: milliseconds of a prompt of 316 rows and of one token behind 316 positions, through
--blocks blocks, the head included; the mean and deviation of --repeat runs.
"""

import argparse
import json
import pathlib
import subprocess

import gguf
import numpy as np

HIDDEN, MLP, HEADS, VOCAB, CONTEXT = 4096, 11008, 32, 32003, 2048
PROMPT = 316


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="folder of llama-bench and llama-quantize")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp/llama-cpp-random"))
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--formats", default="BF16,Q8_0,Q4_0")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    source = chosen.folder / f"blocks-{chosen.blocks}-BF16.gguf"
    if not source.exists():
        write_model(source, chosen.blocks)
    for name in chosen.formats.split(","):
        model = chosen.folder / f"blocks-{chosen.blocks}-{name}.gguf"
        if not model.exists():
            quantize = [chosen.programs / "llama-quantize", "--pure", source, model, name, str(chosen.threads)]
            subprocess.run(quantize, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        line = {"peer": "llama.cpp", "format": name, "blocks": chosen.blocks, "threads": chosen.threads}
        for measure, test in (("prompt", ["-p", str(PROMPT), "-n", "0"]),
                              ("step", ["-p", "0", "-n", "32", "-d", str(PROMPT)])):
            done = subprocess.run([chosen.programs / "llama-bench", "-m", model, "-t", str(chosen.threads), "-r",
                                   str(chosen.repeat), "-o", "json", *test], check=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True)
            result = json.loads(done.stdout)[0]
            runs = np.array(result["samples_ns"]) * 1e-6 / (1 if measure == "prompt" else 32)
            line[measure + "_ms"] = round(float(runs.mean()), 2)
            line[measure + "_deviation_ms"] = round(float(runs.std()), 2)
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
