#!/usr/bin/env python3
"""Writes the small pictures of this folder and, in expected.json, what cv2.imread(IMREAD_COLOR) + BGR2RGB reads from
them: size and SHA-256 of the RGB bytes. Needs numpy, pillow and opencv-python-headless; recorded with OpenCV 5.0.0."""

import hashlib
import io
import json
import pathlib
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

FOLDER = pathlib.Path(__file__).parent
rng = np.random.default_rng(7)


def smooth(height, width, channels):
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 80 * np.sin(x / (3 + c) + c) + 40 * np.cos(y / (2 + c)) for c in range(channels)]
    return np.clip(np.stack(planes, -1) + rng.normal(0, 6, (height, width, channels)), 0, 255).astype(np.uint8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed_rows(samples, depth):
    """samples [h, w, c] -> PNG scanlines with filter 0."""
    rows = b""
    for row in samples.reshape(samples.shape[0], -1):
        if depth == 16:
            data = row.astype(">u2").tobytes()
        elif depth == 8:
            data = row.astype(np.uint8).tobytes()
        else:
            bits = "".join(format(int(v), f"0{depth}b") for v in row)
            bits += "0" * (-len(bits) % 8)
            data = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
        rows += b"\0" + data
    return rows


def png(samples, depth, color, palette=None, transparency=None, interlaced=False, extra=b""):
    height, width = samples.shape[:2]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        parts = [samples[y::dy, x::dx] for y, x, dy, dx in passes]
        rows = b"".join(packed_rows(p, depth) for p in parts if p.shape[0] and p.shape[1])
    else:
        rows = packed_rows(samples, depth)
    out = b"\x89PNG\r\n\x1a\n"
    out += chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))) + extra
    if palette is not None:
        out += chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    if transparency is not None:
        out += chunk(b"tRNS", transparency)
    return out + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def exif(orientation, order="<", kind=3):
    value = struct.pack(order + "HH", orientation, 0) if kind == 3 else struct.pack(order + "I", orientation)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return head + struct.pack(order + "HHHI", 1, 0x112, kind, 1) + value + bytes(4)


def with_app1(data, *segments):
    return data[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments) + data[2:]


def saved(array, kind, mode=None, **options):
    out = io.BytesIO()
    Image.fromarray(array, mode).save(out, kind, **options)
    return out.getvalue()


def bmp(width, height, bits, rows, compression=0, palette=b"", masks=b"", core=False, top_down=False):
    info = (
        struct.pack("<IHHHH", 12, width, height, 1, bits)
        if core
        else struct.pack(
            "<IiiHHIIiiII", 40, width, -height if top_down else height, 1, bits, compression, 0, 0, 0, 0, 0
        )
    )
    start = 14 + len(info) + len(masks) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start) + info + masks + palette + rows


def bmp_rows(values, bits):
    """values [h, w] of `bits` bits -> bottom-up padded rows."""
    rows = b""
    for row in values[::-1]:
        if bits >= 8:
            data = b"".join(int(v).to_bytes(bits // 8, "little") for v in row)
        else:
            text = "".join(format(int(v), f"0{bits}b") for v in row)
            text += "0" * (-len(text) % 8)
            data = bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
        rows += data + bytes(-len(data) % 4)
    return rows


def pictures():
    h, w = 11, 13
    palette = rng.integers(0, 256, (256, 3))
    for color, name, channels, depths in (
        (0, "grey", 1, (1, 2, 4, 8, 16)),
        (2, "rgb", 3, (8, 16)),
        (3, "palette", 1, (1, 2, 4, 8)),
        (4, "grey_alpha", 2, (8, 16)),
        (6, "rgba", 4, (8, 16)),
    ):
        for depth in depths:
            samples = rng.integers(0, 2**depth, (h, w, channels))
            entries = palette[: 2**depth] if color == 3 else None
            yield f"{name}_{depth}.png", png(samples, depth, color, entries)
            yield f"{name}_{depth}_interlaced.png", png(samples, depth, color, entries, interlaced=True)
    yield "palette_transparent.png", png(rng.integers(0, 16, (h, w, 1)), 4, 3, palette[:16], bytes(range(0, 160, 10)))
    yield "grey_transparent.png", png(rng.integers(0, 256, (h, w, 1)), 8, 0, None, b"\0\x40")
    yield "rgb_transparent.png", png(rng.integers(0, 256, (h, w, 3)), 8, 2, None, b"\0\x40\0\x41\0\x42")
    yield "exif_6.png", png(rng.integers(0, 256, (h, w, 3)), 8, 2, extra=chunk(b"eXIf", exif(6)))
    yield "gamma.png", png(rng.integers(0, 256, (h, w, 3)), 8, 2, extra=chunk(b"gAMA", struct.pack(">I", 100000)))
    yield "interlaced_1x1.png", png(rng.integers(0, 256, (1, 1, 3)), 8, 2, interlaced=True)
    frames = [Image.fromarray(smooth(h, w, 3)) for _ in range(3)]
    out = io.BytesIO()
    frames[0].save(out, "png", save_all=True, append_images=frames[1:])
    yield "animated.png", out.getvalue()

    photo = smooth(37, 45, 3)
    for name, option in (("444", 0), ("422", 1), ("420", 2)):
        yield f"{name}.jpg", saved(photo, "jpeg", quality=85, subsampling=option)
        yield f"{name}_progressive.jpg", saved(photo, "jpeg", quality=85, subsampling=option, progressive=True)
    for name, factor in (("440", cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440), ("411", cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411)):
        yield f"{name}.jpg", cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor])[1].tobytes()
    yield "restarts.jpg", cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_RST_INTERVAL, 3])[1].tobytes()
    yield "grey.jpg", saved(photo[..., 0], "jpeg", quality=85)
    yield "cmyk.jpg", saved(smooth(37, 45, 4), "jpeg", "CMYK", quality=85)
    cmyk = saved(smooth(37, 45, 4), "jpeg", "CMYK", quality=85)
    at = cmyk.index(b"Adobe")
    yield "ycck.jpg", cmyk[: at + 11] + b"\x02" + cmyk[at + 12 :]
    plain = saved(smooth(21, 34, 3), "jpeg", quality=90)
    for orientation in range(1, 9):
        yield f"exif_{orientation}.jpg", with_app1(plain, b"Exif\0\0" + exif(orientation))
    yield "exif_big_endian.jpg", with_app1(plain, b"Exif\0\0" + exif(5, ">"))
    yield "exif_after_xmp.jpg", with_app1(plain, b"http://ns.adobe.com/xap/1.0/\0<x/>", b"Exif\0\0" + exif(8))
    yield "exif_value_9.jpg", with_app1(plain, b"Exif\0\0" + exif(9))
    yield "exif_empty.jpg", with_app1(plain, b"Exif\0\0")
    yield "exif_wild_offset.jpg", with_app1(plain, b"Exif\0\0II*\0" + struct.pack("<I", 0xFFFFFFF0) + bytes(20))
    yield "exif_wild_count.jpg", with_app1(plain, b"Exif\0\0II*\0" + struct.pack("<IH", 8, 65535) + bytes(24))

    yield "lossy.webp", saved(photo, "webp", quality=80)
    yield "lossy_alpha.webp", saved(smooth(37, 45, 4), "webp", quality=80)
    yield "lossless.webp", saved(photo, "webp", lossless=True)
    yield "lossless_alpha.webp", saved(smooth(37, 45, 4), "webp", lossless=True, exact=True)
    yield "exif_6.webp", saved(photo, "webp", lossless=True, exif=b"Exif\0\0" + exif(6))

    for bits in (1, 4, 8):
        values = rng.integers(0, 2**bits, (h, w))
        entries = b"".join(bytes([*map(int, p), 0]) for p in palette[: 2**bits])
        yield f"palette_{bits}.bmp", bmp(w, h, bits, bmp_rows(values, bits), palette=entries)
    yield "555.bmp", bmp(w, h, 16, bmp_rows(rng.integers(0, 2**16, (h, w)), 16))
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    yield "565.bmp", bmp(w, h, 16, bmp_rows(rng.integers(0, 2**16, (h, w)), 16), 3, masks=masks)
    yield "24.bmp", bmp(w, h, 24, bmp_rows(rng.integers(0, 2**24, (h, w)), 24))
    yield "32.bmp", bmp(w, h, 32, bmp_rows(rng.integers(0, 2**32, (h, w)), 32))
    yield "24_top_down.bmp", bmp(w, h, 24, bmp_rows(rng.integers(0, 2**24, (h, w)), 24), top_down=True)
    yield "24_core.bmp", bmp(w, h, 24, bmp_rows(rng.integers(0, 2**24, (h, w)), 24), core=True)


def main():
    expected = {}
    for name, data in pictures():
        (FOLDER / name).write_bytes(data)
        read = cv2.imread(str(FOLDER / name), cv2.IMREAD_COLOR)
        if read is None:
            print("not read by OpenCV:", name)
            (FOLDER / name).unlink()
            continue
        rgb = np.ascontiguousarray(read[..., ::-1])
        expected[name] = {"size": list(rgb.shape[:2]), "sha256": hashlib.sha256(rgb.tobytes()).hexdigest()}
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
