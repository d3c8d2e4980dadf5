#!/usr/bin/env python3
"""check.py FILE -- COMPILER FLAGS...

Compiles FILE. With `// expect: text` lines it must be refused and the compiler must say every text, once per line that
expects it; without such lines it must be accepted.
"""

import collections
import os
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
    # LC_ALL: the compiler's own words in English, with plain quotation marks.
    run = subprocess.run([*compiler, source], capture_output=True, text=True, check=False,
                         env={**os.environ, "LC_ALL": "C"})
    # Only what the compiler says, not the source lines that it quotes: those hold the text of every static_assert.
    said = [line for line in run.stderr.splitlines() if re.search(r"\b(error|note):", line)]
    if not expected:
        print(run.stderr or "accepted, as expected")
        return 0 if run.returncode == 0 else 1
    missing = [text for text, times in collections.Counter(expected).items()
               if sum(text in line for line in said) < times]
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
