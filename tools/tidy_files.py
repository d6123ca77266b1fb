#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Print the C files that a build tree compiles, each once: tidy_files.py BUILD_DIR."""
import json
import pathlib
import sys


def main():
    database = json.loads((pathlib.Path(sys.argv[1]) / "compile_commands.json").read_text(encoding="utf-8"))
    files = {pathlib.Path(entry["directory"], entry["file"]).resolve() for entry in database}
    print("\n".join(sorted(str(file) for file in files if file.suffix == ".c" and file.is_file())))


if __name__ == "__main__":
    main()
