#!/usr/bin/env python3
"""SAM image encoder of Hugging Face, one 1024 x 1024 image: eager (the algorithm Meta published) and SDPA. Set-up: peers.py.
`--sizes tiny` is for a look at whether it runs."""

import torch
from peers import DTYPES, measure, options, randomize
from transformers import SamVisionConfig, SamVisionModel

SIZES = {
    "B": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, global_attn_indexes=[2, 5, 8, 11]),
    "L": dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, global_attn_indexes=[5, 11, 17, 23]),
    "tiny": dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, global_attn_indexes=[1]),
    "H": dict(hidden_size=1280, num_hidden_layers=32, num_attention_heads=16, global_attn_indexes=[7, 15, 23, 31]),
}

chosen = options(sizes="H,B", attention="eager,sdpa")
for size in chosen.sizes.split(","):
    for attention in chosen.attention.split(","):
        for dtype in chosen.dtypes.split(","):
            width = SIZES[size]["hidden_size"]
            config = SamVisionConfig(**SIZES[size], mlp_dim=4 * width, attn_implementation=attention)
            with torch.device(chosen.device):
                model = randomize(SamVisionModel(config), DTYPES[dtype])
                image = torch.randn(1, 3, 1024, 1024, dtype=DTYPES[dtype])
            measure(f"sam_vit_{size.lower()}_encoder", f"transformers {attention}", lambda: model(image), "1x3x1024x1024",
                    dtype, chosen)
            del model
