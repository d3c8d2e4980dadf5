#!/usr/bin/env python3
"""Times writing masks the usual way in Python (numpy threshold, pycocotools RLE, Pillow PNG), on the sizes and the mask of
bench/image_bench.cpp. Prints milliseconds, the best and the median of the runs.

  pip install numpy pillow pycocotools;  python bench/compare/mask_output.py [RUNS]"""

import io
import statistics
import sys
import time

import numpy as np
from PIL import Image
from pycocotools import mask as coco


def logits(width, height):
    y, x = np.mgrid[0:height, 0:width]
    return (np.sin(x * 9.0 / width) * np.cos(y * 7.0 / height) - 0.4).astype(np.float32)


def png(array):
    out = io.BytesIO()
    Image.fromarray(array).save(out, "png")
    return out.getvalue()


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    print(f"{'':26}{'best ms':>10}{'median ms':>11}")
    for width, height in ((640, 480), (1920, 1080), (3840, 2160)):
        values = logits(width, height)
        mask = values > 0
        bytes_255 = mask.astype(np.uint8) * 255
        tasks = {
            "mask_of_logits": lambda: values > 0,
            "mask_rle": lambda: coco.encode(np.asfortranarray(mask.astype(np.uint8))),
            "mask_png": lambda: png(bytes_255),
        }
        for name, task in tasks.items():
            times = []
            for _ in range(runs):
                start = time.perf_counter()
                task()
                times.append((time.perf_counter() - start) * 1e3)
            print(f"{name + f' {width}x{height}':26}{min(times):>10.2f}{statistics.median(times):>11.2f}")


if __name__ == "__main__":
    main()
