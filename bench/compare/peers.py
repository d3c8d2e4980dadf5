"""What the peer scripts share: options, random weights, timing and the JSON line of a measure.

`./dev compare` sets the peers up in build/peers and runs the scripts; one of them alone, with options:

    build/peers/bin/python bench/compare/sam_encoder.py --threads 1

On a CPU every line holds `cpu_ms`, the process CPU time, and `ms`, the wall time, of the quickest repetition. On a shared
machine compare CPU times at one thread: two threads spin at barriers while a neighbour holds one of them. With `--device
cuda` it holds `ms`, the median between two CUDA events, `min_ms` and `max_ms`, as bench_gpu has them: 31 calls behind 5 that
load kernels, each of which is waited for.
"""

import argparse
import json
import os
import statistics
import sys
import time

import torch

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def options(**extra):
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, help="calls that are timed (default: 3 on a CPU, 31 on a GPU)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtypes", default="bf16,fp32")
    for name, default in extra.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default)
    chosen = parser.parse_args()
    on_gpu = chosen.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        sys.exit(f'{parser.prog}: device: found "cuda", expected cpu: torch {torch.__version__} finds no GPU that it can use')
    chosen.repeat = chosen.repeat or (31 if on_gpu else 3)
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


def times_on_cpu(call, repeat):
    call()
    wall, cpu = [], []
    for _ in range(repeat):
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        call()
        wall.append((time.perf_counter() - wall_start) * 1e3)
        cpu.append((time.process_time() - cpu_start) * 1e3)
    return {"ms": round(min(wall), 2), "cpu_ms": round(min(cpu), 2), "repeat": repeat}


def times_on_gpu(call, repeat, warm_up=5):
    """Between two events on the stream, as bench_gpu times: the stream is idle before each call, so that what the host
    takes to queue the work counts where the GPU waits for it."""
    for _ in range(warm_up):
        call()
    torch.cuda.synchronize()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    times = []
    for _ in range(repeat):
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return {"ms": round(statistics.median(times), 4), "min_ms": round(min(times), 4), "max_ms": round(max(times), 4),
            "repeat": repeat, "gpu": torch.cuda.get_device_name()}


def measure(name, peer, call, shape, dtype, chosen, repeat=None):
    """Times a call and prints its line. `repeat` is the CPU's, where some calls are so short that more are wanted."""
    times = times_on_gpu(call, chosen.repeat) if chosen.device == "cuda" else times_on_cpu(call, repeat or chosen.repeat)
    line = {"measure": name, "peer": peer, "shape": shape, "dtype": dtype, "device": chosen.device,
            "threads": chosen.threads, **times, "torch": torch.__version__}
    print(json.dumps(line), flush=True)
