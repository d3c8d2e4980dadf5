#!/usr/bin/env python3
"""A picture of 640 x 480, a question, an answer of 7 and of 30 tokens, a mask: LISA-7B put together from the modules of Hugging
Face, with random weights. The peer of bench/end_to_end on a GPU. Set-up: peers.py.

"cache": CLIP once, a cache, SDPA, the encoder's and the decoder's SDPA. "original": LISA's evaluate() as published, which has
no cache, so that every token takes CLIP and all rows again, with eager attention in SAM. Both preprocess with Pillow and numpy,
and the mask's logits go to the host as they do there. Answers are forced, but every token is looked at as generate() does.

On a CPU this takes minutes and 16 GB; `--scale 16 --layers 2` is for a look at whether it runs."""

import numpy as np
import torch
import torch.nn.functional as F
from peers import DTYPES, measure, options, randomize
from preprocess import clip_preprocess, photo, sam_preprocess
from transformers import (CLIPVisionConfig, CLIPVisionModel, DynamicCache, LlamaConfig, LlamaForCausalLM, SamConfig,
                          SamModel, SamVisionConfig)

TEXT, VISUAL, WIDTH, HEIGHT = 60, 256, 640, 480

chosen = options(peers="cache,original", tokens="7,30", scale=1, layers=32)
dtype = DTYPES[chosen.dtypes.split(",")[0]]


def less(width):
    return width // chosen.scale


def made(make):
    """A module in its dtype where it is to live: 7B parameters in fp32 would be made for nothing."""
    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    with torch.device(chosen.device):
        module = make()
    torch.set_default_dtype(previous)
    return randomize(module, dtype)


def sam_of(attention):
    layers = chosen.layers
    vision = SamVisionConfig(hidden_size=less(1280), mlp_dim=less(5120), num_hidden_layers=layers, num_attention_heads=less(16),
                             global_attn_indexes=[i for i in range(layers) if i % 8 == 7], attn_implementation=attention)
    return made(lambda: SamModel(SamConfig(vision_config=vision.to_dict(), attn_implementation=attention)))


llm = made(lambda: LlamaForCausalLM(LlamaConfig(
    hidden_size=less(4096), intermediate_size=less(11008), num_attention_heads=max(1, less(32)),
    num_hidden_layers=chosen.layers, vocab_size=32004, attn_implementation="sdpa")))
clip = made(lambda: CLIPVisionModel(CLIPVisionConfig(
    hidden_size=less(1024), intermediate_size=less(4096), num_hidden_layers=min(24, chosen.layers),
    num_attention_heads=less(16), image_size=224, patch_size=14, attn_implementation="sdpa")))
projector = made(lambda: torch.nn.Linear(less(1024), less(4096)))
seg = made(lambda: torch.nn.Sequential(torch.nn.Linear(less(4096), less(4096)), torch.nn.ReLU(),
                                       torch.nn.Linear(less(4096), 256)))
picture = photo(WIDTH, HEIGHT)
prompt = torch.arange(TEXT, device=chosen.device)


def to_device(planes):
    return torch.from_numpy(np.ascontiguousarray(planes)).to(chosen.device, dtype)[None]


def rows_of(pixels, ids):
    """Embeddings of the prompt with the picture behind its first ids, and of what has been said."""
    visual = projector(clip(pixels, output_hidden_states=True).hidden_states[-2][:, 1:])
    text = llm.model.embed_tokens(ids)[None]
    return torch.cat([text[:, : TEXT // 2], visual, text[:, TEXT // 2 :]], 1)


def said(logits, token):
    """The token that was forced, after the host has looked at the one that was chosen."""
    logits[0, -1].argmax().item()
    return torch.full((1,), 100 + token, device=chosen.device)


def answer_with_cache(pixels, tokens):
    """The state that belongs to the last token."""
    cache, x, states = DynamicCache(), rows_of(pixels, prompt), None
    for token in range(tokens):
        states = llm.model(inputs_embeds=x, past_key_values=cache, use_cache=True).last_hidden_state
        x = llm.model.embed_tokens(said(llm.lm_head(states[:, -1:]), token))[None]
    return states[:, -1]


def answer_without(pixels, tokens):
    ids, states = prompt, None
    for token in range(tokens):
        states = llm.model(inputs_embeds=rows_of(pixels, ids), use_cache=False).last_hidden_state
        ids = torch.cat([ids, said(llm.lm_head(states), token)])
    return states[:, -1]


def mask_of(sam, embedding, state):
    dense = sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(1, -1, 64, 64)
    low_res = sam.mask_decoder(image_embeddings=embedding,
                               image_positional_embeddings=sam.get_image_wide_positional_embeddings(),
                               sparse_prompt_embeddings=seg(state)[:, None, None], dense_prompt_embeddings=dense,
                               multimask_output=False)[0][:, 0]
    square = F.interpolate(low_res.float(), (1024, 1024), mode="bilinear", align_corners=False)
    scale = 1024 / max(WIDTH, HEIGHT)
    part = square[..., : int(HEIGHT * scale + 0.5), : int(WIDTH * scale + 0.5)]
    return F.interpolate(part, (HEIGHT, WIDTH), mode="bilinear", align_corners=False)[0, 0].cpu().numpy() > 0


for peer in chosen.peers.split(","):
    answer, attention = {"cache": (answer_with_cache, "sdpa"), "original": (answer_without, "eager")}[peer]
    sam = sam_of(attention)
    for tokens in map(int, chosen.tokens.split(",")):
        def whole():
            state = answer(to_device(clip_preprocess(picture)), tokens)
            embedding = sam.vision_encoder(to_device(sam_preprocess(picture)))[0]
            return mask_of(sam, embedding, state)

        assert whole().shape == (HEIGHT, WIDTH)
        measure("end_to_end", f"transformers, {peer}", whole, f"{tokens} tokens", chosen.dtypes.split(",")[0], chosen)
    del sam
