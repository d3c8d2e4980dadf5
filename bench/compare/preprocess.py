#!/usr/bin/env python3
"""Times decoding and preprocessing as the original does it (Pillow for resizing, numpy for the rest), on the
sizes of bench/image_bench.cpp. Prints milliseconds, the best and the median of the runs.

  pip install pillow numpy;  python bench/compare/preprocess.py [RUNS]"""

import io
import statistics
import sys
import time

import numpy as np
from PIL import Image

SAM_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
SAM_STD = np.array([58.395, 57.12, 57.375], np.float32)
CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def photo(width, height):
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(1).integers(0, 9, (height, width, 3))
    waves = [127 + 70 * np.sin(x / (41.0 + c)) + 40 * np.cos(y / (29.0 + c)) for c in range(3)]
    return (np.stack(waves, -1) + noise).astype(np.uint8)


def sam_size(height, width):
    scale = 1024 / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def sam_resize(array):
    height, width = sam_size(*array.shape[:2])
    return np.asarray(Image.fromarray(array).resize((width, height), Image.BILINEAR))


def sam_preprocess(array):
    resized = sam_resize(array)
    out = np.zeros((3, 1024, 1024), np.float32)
    out[:, : resized.shape[0], : resized.shape[1]] = ((resized - SAM_MEAN) / SAM_STD).transpose(2, 0, 1)
    return out


def clip_preprocess(array):
    height, width = array.shape[:2]
    short, long = min(height, width), max(height, width)
    rest = int(224 * long / short)
    size = (224, rest) if width <= height else (rest, 224)
    resized = np.asarray(Image.fromarray(array).resize(size, Image.BICUBIC))
    top, left = (resized.shape[0] - 224) // 2, (resized.shape[1] - 224) // 2
    crop = resized[top : top + 224, left : left + 224]
    return (((crop * (1 / 255)).astype(np.float32) - CLIP_MEAN) / CLIP_STD).transpose(2, 0, 1)


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    print(f"{'':24}{'best ms':>10}{'median ms':>11}")
    for width, height in ((640, 480), (1920, 1080), (3840, 2160)):
        array = photo(width, height)
        files = {}
        for kind, options in (("png", {}), ("jpeg", {"quality": 90, "subsampling": 2})):
            out = io.BytesIO()
            Image.fromarray(array).save(out, kind, **options)
            files[kind] = out.getvalue()

        def decode_png(_):
            return np.asarray(Image.open(io.BytesIO(files["png"])).convert("RGB"))

        def decode_jpeg(_):
            return np.asarray(Image.open(io.BytesIO(files["jpeg"])).convert("RGB"))

        def write_png(picture):
            Image.fromarray(picture).save(io.BytesIO(), "png")

        for task in (decode_png, decode_jpeg, write_png, sam_resize, sam_preprocess, clip_preprocess):
            times = []
            for _ in range(runs):
                start = time.perf_counter()
                task(array)
                times.append((time.perf_counter() - start) * 1e3)
            print(f"{task.__name__ + f' {width}x{height}':24}{min(times):>10.2f}{statistics.median(times):>11.2f}")


if __name__ == "__main__":
    main()
