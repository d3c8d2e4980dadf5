#!/usr/bin/env python3
"""code_blocks.py compile PAGE      prints one C++ file with all blocks of a page, every specification instantiated
code_blocks.py statements PAGE      prints one C++ file with each block of a page as the body of a function
code_blocks.py contains PAGE FILE   exits 1 unless one block of the page is the file's text"""

import pathlib
import re
import sys


def cpp_blocks(page):
    return re.findall(r"^```cpp\n(.*?)^```$", pathlib.Path(page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "compile":
        code = "\n".join(cpp_blocks(arguments[1]))
        specifications = re.findall(r"^struct (\w+) : [\w:]+ {", code, re.MULTILINE)
        if not specifications:
            print(f"{arguments[1]}: no specification in any block", file=sys.stderr)
            return 1
        print("#include <ATen/ops/conv2d.h>\n" + code)
        for name in specifications:
            print(f"template class lisa::Lisa<{name}>;\ntemplate class lisa::Predictor<{name}>;")
        return 0
    if len(arguments) == 2 and arguments[0] == "statements":
        blocks = cpp_blocks(arguments[1])
        if not blocks:
            print(f"{arguments[1]}: no block", file=sys.stderr)
            return 1
        print("#include <iostream>\n#include <lisa/lisa.hpp>\n")
        for number, block in enumerate(blocks):
            print(f"void block_{number}();\nvoid block_{number}() {{\n{block}}}")
        return 0
    if len(arguments) == 3 and arguments[0] == "contains":
        if pathlib.Path(arguments[2]).read_text(encoding="utf-8") in cpp_blocks(arguments[1]):
            return 0
        print(f"{arguments[1]}: no block is the text of {arguments[2]}", file=sys.stderr)
        return 1
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
