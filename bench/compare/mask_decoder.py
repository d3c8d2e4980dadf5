#!/usr/bin/env python3
"""SAM's mask decoder of Hugging Face for 1 and 16 prompts of one text token over one image. Set-up: peers.py."""

import torch
from peers import DTYPES, measure, options, randomize
from transformers import SamConfig, SamModel, SamVisionConfig

chosen = options(attention="eager,sdpa")
vision = SamVisionConfig(num_hidden_layers=1, hidden_size=32, mlp_dim=64, num_attention_heads=2)
for attention in chosen.attention.split(","):
    for dtype in chosen.dtypes.split(","):
        with torch.device(chosen.device):
            model = randomize(SamModel(SamConfig(vision_config=vision.to_dict(), attn_implementation=attention)), DTYPES[dtype])
            image = torch.randn(1, 256, 64, 64, dtype=DTYPES[dtype])
        positions = model.get_image_wide_positional_embeddings()
        dense = model.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(1, -1, 64, 64)
        for prompts in (1, 16):
            text = torch.randn(1, prompts, 1, 256, dtype=DTYPES[dtype], device=chosen.device)

            def decode():
                return model.mask_decoder(image_embeddings=image, image_positional_embeddings=positions,
                                          sparse_prompt_embeddings=text, dense_prompt_embeddings=dense,
                                          multimask_output=False)

            measure("mask_decoder", f"transformers {attention}", decode, f"{prompts} prompts", dtype, chosen)
