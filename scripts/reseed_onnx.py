#!/usr/bin/env python3
"""Copies the architectures inside the Python package onnx, with weights of their own.

Usage: scripts/reseed_onnx.py DIR [NAME...]    Needs the packages onnx and numpy.

The package has real graphs for its backend tests, but every weight is one constant, which would
hide a swapped channel. Each weight becomes random numbers from a seed, of a scale that keeps
activations alive; a Softmax at the end is dropped, because it would hide differences. Writes
DIR/NAME/model.onnx and prints the names; with no NAME given, all there are. Leaves with 3 where
the package is missing or has no such models.
"""

import pathlib
import sys
import zlib


def models():
    """The paths of the package's models by short name, e.g. squeezenet."""
    import onnx

    folder = pathlib.Path(onnx.__file__).parent / "backend/test/data/light"
    return {path.stem.removeprefix("light_"): path for path in sorted(folder.glob("*.onnx"))}


def role(name, readers):
    """Who reads a weight in the end, and as which operand."""
    while True:
        node, index = readers.get(name, (None, 0))
        if node is None or node.op_type not in ("Reshape", "Unsqueeze", "Identity"):
            return (node.op_type if node is not None else ""), index
        name = node.output[0]


def numbers(name, shape, readers):
    """Random numbers for a weight: He's scale for matrices and kernels, near 0 or 1 for others."""
    import numpy

    random = numpy.random.default_rng(zlib.crc32(name.encode()))
    normal = random.standard_normal(shape).astype(numpy.float32)
    op, index = role(name, readers)
    if op == "BatchNormalization" and index in (1, 4) or op == "Mul":
        return (1 + 0.1 * numpy.clip(normal, -3, 3)).astype(numpy.float32)
    if len(shape) < 2:
        return (0.1 * normal).astype(numpy.float32)
    # A matrix is [K, M] or [M, K]: the larger is taken, which errs on the small side.
    fan_in = max(shape) if len(shape) == 2 else int(numpy.prod(shape[1:]))
    return (normal * (2 / fan_in) ** 0.5).astype(numpy.float32)


def reseed(path):
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    graph = model.graph
    readers = {name: (node, i) for node in graph.node for i, name in enumerate(node.input)}
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    made = {}
    for node in [n for n in graph.node if n.op_type == "ConstantOfShape"]:
        made[node.output[0]] = [int(n) for n in constants.pop(node.input[0])]
        graph.node.remove(node)
    for name, value in list(constants.items()):
        if value.dtype.name == "float32" and value.size > 1:
            made[name] = list(value.shape)
            del constants[name]
    weights = [numpy_helper.from_array(numbers(n, s, readers), n) for n, s in made.items()]
    kept = [t for t in graph.initializer if t.name in constants]
    used = {name for node in graph.node for name in node.input}
    kept = [t for t in kept if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept + weights)
    # Only what is no constant stays an input; that is allowed from this version on.
    model.ir_version = max(model.ir_version, 4)
    named = {t.name for t in graph.initializer}
    inputs = [i for i in graph.input if i.name in used and i.name not in named]
    del graph.input[:]
    graph.input.extend(inputs)
    last = graph.node[-1]
    if last.op_type == "Softmax" and [o.name for o in graph.output] == list(last.output):
        graph.output[0].name = last.input[0]
        graph.node.remove(last)
    return model


def main(folder, names):
    try:
        import numpy  # noqa: F401
        import onnx

        found = models()
    except ImportError as error:
        print(error, file=sys.stderr)
        return 3
    missing = [name for name in names if name not in found]
    if not found or missing:
        print(f"the package onnx has no {' '.join(missing) or 'models'}", file=sys.stderr)
        return 3
    for name in names or found:
        into = pathlib.Path(folder) / name
        into.mkdir(parents=True, exist_ok=True)
        onnx.save(reseed(found[name]), str(into / "model.onnx"))
        print(name)
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
