"""What the peer scripts share: options, random weights, timing and the JSON line of a measure.

`./dev compare` sets the peers up in build/peers and runs the scripts; one of them alone, with options:

    build/peers/bin/python bench/compare/sam_encoder.py --threads 1

Every line holds `cpu_ms`, the process CPU time, and `ms`, the wall time, of the quickest repetition. On a shared machine
compare CPU times at one thread: two threads spin at barriers while a neighbour holds one of them.
"""

import argparse
import json
import os
import time

import torch

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def options(**extra):
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtypes", default="bf16,fp32")
    for name, default in extra.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    return chosen


def randomize(module, dtype):
    """Normal numbers of deviation 0.02 everywhere, around 1 for the weights of norms: the same as bench/random_weights.hpp."""
    module.to(dtype)
    for name, parameter in module.named_parameters():
        parameter.normal_(0, 0.02)
        if parameter.dim() == 1 and name.endswith("weight"):
            parameter.add_(1)
    return module.eval()


def measure(name, peer, call, shape, dtype, chosen, repeat=None):
    call()
    wall, cpu = [], []
    for _ in range(repeat or chosen.repeat):
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        call()
        wall.append((time.perf_counter() - wall_start) * 1e3)
        cpu.append((time.process_time() - cpu_start) * 1e3)
    line = {"measure": name, "peer": peer, "shape": shape, "dtype": dtype, "threads": chosen.threads,
            "ms": round(min(wall), 2), "cpu_ms": round(min(cpu), 2), "repeat": len(wall), "torch": torch.__version__}
    print(json.dumps(line), flush=True)
