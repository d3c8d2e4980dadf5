#!/usr/bin/env python3
"""Mask output as LISA does it with PyTorch: two interpolations, the crop, NumPy's threshold. Set-up: peers.py."""

import torch
import torch.nn.functional as F
from peers import measure, options

chosen = options()
for width, height in ((1920, 1080), (3840, 2160)):
    scale = 1024 / max(width, height)
    resized = int(height * scale + 0.5), int(width * scale + 0.5)
    for masks in (1, 16):
        low_res = torch.randn(masks, 1, 256, 256, device=chosen.device) * 5

        def output():
            square = F.interpolate(low_res, (1024, 1024), mode="bilinear", align_corners=False)
            full = F.interpolate(square[..., : resized[0], : resized[1]], (height, width), mode="bilinear",
                                 align_corners=False)
            return [mask.cpu().numpy() > 0 for mask in full[:, 0]]

        measure("mask_output", "torch + numpy", output, f"{masks} masks {width}x{height}", "fp32", chosen, repeat=7)
