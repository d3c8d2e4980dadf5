#!/usr/bin/env python3
"""LLaMA-7B blocks of Hugging Face in bf16, random weights: one block on 316 rows, the step of one token at context 316
through 4 blocks, the head on one row. The same shapes as bench/llm_bench.cpp. On a GPU also the prompt through all blocks, and
a whole step with the head, as bench/gpu/language_model.cpp; on a CPU these have to be asked for. Set-up: peers.py.

`--width 256 --layers 2` is for a look at whether it runs."""

import torch
from peers import measure, options, randomize
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

CONTEXT, DECODE_BLOCKS, HEAD_WIDTH = 316, 4, 128

chosen = options(attention="sdpa", measures="", width=4096, layers=32)


def model_of(blocks):
    config = LlamaConfig(hidden_size=chosen.width, intermediate_size=chosen.width * 11008 // 4096,
                         num_attention_heads=chosen.width // HEAD_WIDTH, num_hidden_layers=blocks, vocab_size=32000,
                         attn_implementation=chosen.attention)
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(chosen.device):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(previous)
    return randomize(model, torch.bfloat16)


def rows(count):
    return torch.randn(1, count, chosen.width, dtype=torch.bfloat16, device=chosen.device)


def run(name, call, shape, repeat=None):
    measure(name, f"transformers {chosen.attention}", call, shape, "bf16", chosen, repeat)


def step_of(model, embedded):
    """A call that runs one row behind CONTEXT others, time after time: the cache forgets it again."""
    cache = DynamicCache()
    model(inputs_embeds=rows(CONTEXT), past_key_values=cache, use_cache=True)

    def step():
        model(inputs_embeds=embedded, past_key_values=cache, use_cache=True)
        cache.crop(-1)

    return step


def prefill():
    model, x = model_of(1).model, rows(CONTEXT)
    model.norm = torch.nn.Identity()
    run("prefill_block", lambda: model(inputs_embeds=x, use_cache=True), f"{CONTEXT} rows")


def decode():
    model = model_of(DECODE_BLOCKS).model
    model.norm = torch.nn.Identity()
    run(f"decode_{DECODE_BLOCKS}_blocks", step_of(model, rows(1)), f"context {CONTEXT}", 4 * chosen.repeat)


def head():
    model, x = model_of(1), rows(1)
    run("lm_head_one_row", lambda: model.lm_head(x), f"1x{chosen.width}x32000", 4 * chosen.repeat)


def whole():
    model, x = model_of(chosen.layers), rows(CONTEXT)
    run("whole_prompt", lambda: model.model(inputs_embeds=x, use_cache=True), f"{CONTEXT} rows")
    run("whole_step", step_of(model, rows(1)), f"context {CONTEXT}", 4 * chosen.repeat)


for name in (chosen.measures or "prefill,decode,head" + (",whole" if chosen.device == "cuda" else "")).split(","):
    {"prefill": prefill, "decode": decode, "head": head, "whole": whole}[name]()
