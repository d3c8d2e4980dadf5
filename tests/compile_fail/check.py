#!/usr/bin/env python3
"""check.py FILE -- COMPILER FLAGS...

Compiles FILE. With `// expect: text` lines it must be refused and the compiler must say every text, once per line that
expects it; without such lines it must be accepted.
"""

import collections
import re
import subprocess
import sys


def main(arguments):
    source, separator, *compiler = arguments
    if separator != "--":
        print(__doc__, file=sys.stderr)
        return 2
    with open(source, encoding="utf-8") as file:
        expected = re.findall(r"//\s*expect:\s*(.+?)\s*$", file.read(), re.MULTILINE)
    run = subprocess.run([*compiler, source], capture_output=True, text=True, check=False)
    errors = [line for line in run.stderr.splitlines() if re.search(r"\berror:", line)]
    if not expected:
        print(run.stderr or "accepted, as expected")
        return 0 if run.returncode == 0 else 1
    missing = [text for text, times in collections.Counter(expected).items()
               if sum(text in line for line in errors) < times]
    for text in missing:
        print(f"the compiler did not say: {text}")
    if run.returncode == 0:
        print("the file was accepted")
    if missing:
        print(run.stderr)
    else:
        print(f"refused with {len(expected)} expected messages")
    return 1 if missing or run.returncode == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
