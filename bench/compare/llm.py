#!/usr/bin/env python3
"""LLaMA-7B blocks of Hugging Face in bf16, random weights: one block on 316 rows, the step of one token at context 316
through 4 blocks, the head on one row. The same shapes as bench/llm_bench.cpp. Set-up: peers.py."""

import torch
from peers import measure, options, randomize
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

CONTEXT, DECODE_BLOCKS = 316, 4

chosen = options(attention="sdpa", measures="prefill,decode,head")


def model_of(blocks):
    config = LlamaConfig(hidden_size=4096, intermediate_size=11008, num_attention_heads=32, num_hidden_layers=blocks,
                         vocab_size=32000, attn_implementation=chosen.attention)
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    model = LlamaForCausalLM(config)
    torch.set_default_dtype(previous)
    return randomize(model, torch.bfloat16)


def rows(count):
    return torch.randn(1, count, 4096, dtype=torch.bfloat16)


def run(name, call, shape, repeat=None):
    measure(name, f"transformers {chosen.attention}", call, shape, "bf16", chosen, repeat)


def prefill():
    model, x = model_of(1).model, rows(CONTEXT)
    model.norm = torch.nn.Identity()
    run("prefill_block", lambda: model(inputs_embeds=x, use_cache=True), f"{CONTEXT} rows")


def decode():
    model, x, cache = model_of(DECODE_BLOCKS).model, rows(1), DynamicCache()
    model.norm = torch.nn.Identity()
    model(inputs_embeds=rows(CONTEXT), past_key_values=cache, use_cache=True)

    def step():
        model(inputs_embeds=x, past_key_values=cache, use_cache=True)
        cache.crop(-1)

    run(f"decode_{DECODE_BLOCKS}_blocks", step, f"context {CONTEXT}", 4 * chosen.repeat)


def head():
    model, x = model_of(1), rows(1)
    run("lm_head_one_row", lambda: model.lm_head(x), "1x4096x32000", 4 * chosen.repeat)


for name in chosen.measures.split(","):
    {"prefill": prefill, "decode": decode, "head": head}[name]()
