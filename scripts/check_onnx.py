#!/usr/bin/env python3
"""Runs onnx.checker on every .onnx file under the folders given.

Usage: scripts/check_onnx.py DIR...    Needs the Python package onnx (pip install onnx).
Prints one line for each file that is not valid and leaves with 1; 2 where there is no file.
"""

import pathlib
import sys


def main(folders):
    import onnx

    files = sorted(path for folder in folders for path in pathlib.Path(folder).rglob("*.onnx"))
    if not files:
        print(f"{' '.join(folders) or 'no folder given'}: no .onnx file in it", file=sys.stderr)
        return 2
    wrong = 0
    for path in files:
        try:
            # By path, so that external data is found and checked as well.
            onnx.checker.check_model(str(path), full_check=True)
        except Exception as error:
            wrong += 1
            print(f"{path}: {' '.join(str(error).split())}")
    print(f"{len(files) - wrong} of {len(files)} sub-models are valid ONNX")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
