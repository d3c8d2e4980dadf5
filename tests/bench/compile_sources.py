#!/usr/bin/env python3
"""Compiles sources without making anything of them: compile_sources.py COMPILER OPTION... -- SOURCE...

Exits 1 with the compiler's words when one does not compile; ends the run's output with how many did.
"""
import subprocess
import sys


def main():
    split = sys.argv.index("--")
    command, sources = sys.argv[1:split], sys.argv[split + 1 :]
    failed = []
    for source in sources:
        done = subprocess.run([*command, "-fsyntax-only", source], stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            failed.append(source)
            print(f"{source} does not compile:\n{done.stderr}")
    print(f"{len(sources) - len(failed)} of {len(sources)} sources compile")
    return 1 if failed or not sources else 0


if __name__ == "__main__":
    sys.exit(main())
