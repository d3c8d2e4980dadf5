#!/usr/bin/env python3
"""answers_as_data.py FOLDER ID...   prints the answers that `lisa segment` left in FOLDER as a data set in JSON lines

`lisa data show` draws such a data set as one picture, `lisa train` learns from one that a person has corrected."""

import json
import pathlib
import sys


def main(folder, *names):
    for name in names:
        record = json.loads((pathlib.Path(folder) / f"{name}.json").read_text(encoding="utf-8"))
        line = {
            "id": name,
            "image": str(pathlib.Path(record["request"]["image"]).resolve()),
            "question": record["request"]["prompt"],
            "answer": record["answer"],
            "masks": [mask["segmentation"] for mask in record["masks"]],
        }
        print(json.dumps(line))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
