"""Make the demo's data and its model: find the handwritten digit in a cluttered 128x128 picture.

Source digits: scikit-learn's copy of the UCI handwritten digits (1,797 grey 8x8 pictures), split
into train, validation and test by source digit *before* anything is composed.
A composition puts one whole digit at a random place, size, angle and contrast on a canvas with
clutter: strokes, dots, blobs, and pieces of other digits of the same split, then noise.

The script trains a small VGG-like network (12 convolutions, total stride 16), folds its batch
normalisation into the convolutions, and writes to --out (default: data/digits of the repository)
    digits.onnx   the model: input image [1,1,128,128], output logits [1,10]
    images/       the first 300 test compositions as PNG
    labels.csv    file,label of those 300
    classes.txt   the class names, one a line
    report.json   mean and std of the preprocessing, and the measured accuracies
Run time: 31 minutes (14.7 of processor time) on two cores that were also compiling; no GPU.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SIZE = 128
GROUPS = ((8, 8), (16, 16, 16), (32, 32, 32), (64, 64, 64, 64))
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HELD_OUT = {"test": 500, "val": 200}  # source digits; the other 1,097 are for training
BATCH, VALIDATION, KEEP, GREY_STEP = 32, 1000, 300, 8  # grey values in steps: small PNG files


def split_digits(seed):
    """The source digits of each split as (pictures in 0..1, labels); stratified and seeded."""
    data = load_digits()
    pictures, labels = (data.images / 16).astype(np.float32), data.target
    train, parts = np.arange(len(labels)), {}
    for name, size in HELD_OUT.items():
        how = {"test_size": size, "stratify": labels[train], "random_state": seed}
        train, parts[name] = train_test_split(train, **how)
    parts["train"] = train
    return {name: (pictures[index], labels[index]) for name, index in parts.items()}


def enlarge(picture, rng):
    """An 8x8 digit as a smooth picture of random size, angle and width, trimmed to its ink."""
    size = int(rng.integers(20, 57))
    width = max(16, round(size * rng.uniform(0.75, 1.1)))
    large = Image.fromarray(picture).resize((width, size), Image.Resampling.BICUBIC)
    large = large.rotate(rng.uniform(-15, 15), Image.Resampling.BICUBIC, expand=True)
    ink = np.clip(np.asarray(large), 0, 1)
    rows, cols = np.flatnonzero(ink.max(1) > 0.2), np.flatnonzero(ink.max(0) > 0.2)
    return ink[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]


def piece(picture, rng):
    """A strip of a digit, cut off along a random side, too narrow to be a whole digit."""
    ink = np.rot90(enlarge(picture, rng), int(rng.integers(4)))
    keep = max(4, round(len(ink) * rng.uniform(0.3, 0.5)))
    return np.rot90(ink[:keep], int(rng.integers(4)))


def overlay(canvas, ink, top, left, level):
    """Draw ink (0..1) on the canvas at the brightness level, as light on dark."""
    window = canvas[top : top + ink.shape[0], left : left + ink.shape[1]]
    window[:] = window + ink * np.maximum(level - window, 0)


def draw_marks(rng):
    """A layer of strokes, dots and blobs, with their brightness in grey values."""
    layer = Image.new("L", (SIZE, SIZE))
    draw = ImageDraw.Draw(layer)
    for _ in range(rng.integers(4, 10)):
        points = np.cumsum([rng.uniform(0, SIZE, 2), *rng.normal(0, 18, (2, 2))], axis=0)
        fill, width = int(rng.integers(50, 190)), int(rng.integers(2, 6))
        draw.line(points.ravel().tolist(), fill=fill, width=width, joint="curve")
    for _ in range(rng.integers(6, 22)):
        (x, y), radius = rng.uniform(0, SIZE, 2), rng.uniform(0.7, 4.5)
        box = (x - radius, y - radius, x + radius, y + radius * rng.uniform(0.6, 1.6))
        draw.ellipse(box, fill=int(rng.integers(50, 190)))
    return np.asarray(layer, np.float32)


def compose(pictures, index, rng, clutter):
    """A uint8 picture with source digit `index`; clutter 0..1: the share of the usual pieces."""
    ground = Image.fromarray(rng.uniform(10, 70, (4, 4)).astype(np.float32))
    ground = np.asarray(ground.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    canvas = np.maximum(ground, draw_marks(rng))
    ink = enlarge(pictures[index], rng)
    top, left = (int(rng.integers(2, SIZE - 1 - side)) for side in ink.shape)
    for other in rng.integers(len(pictures), size=round(clutter * rng.integers(4, 9))):
        part = piece(pictures[other], rng)
        y, x = (int(rng.integers(0, SIZE + 1 - side)) for side in part.shape)
        apart = y + part.shape[0] <= top or top + ink.shape[0] <= y
        if apart or x + part.shape[1] <= left or left + ink.shape[1] <= x:
            overlay(canvas, part, y, x, rng.uniform(100, 220))
    overlay(canvas, ink, top, left, rng.uniform(80, 200))
    canvas += rng.normal(0, rng.uniform(3, 8), canvas.shape)
    return np.clip(np.round(canvas / GREY_STEP) * GREY_STEP, 0, 255).astype(np.uint8)


def compositions(source, count, key, clutter=1.0):
    """`count` compositions and labels; every digit comes up before any comes up again."""
    pictures, labels = source
    order = np.random.default_rng(key).permutation(len(labels))
    chosen = np.resize(order, count)
    seeds = (np.random.default_rng([*key, number]) for number in range(count))
    made = [compose(pictures, index, rng, clutter) for index, rng in zip(chosen, seeds)]
    return np.stack(made), labels[chosen]


def build_network(norm):
    """The network; norm adds batch normalisation after each convolution (for training)."""
    layers, channels = [], 1
    for group in GROUPS:
        for width in group:
            layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=not norm))
            layers += [nn.BatchNorm2d(width), nn.ReLU()] if norm else [nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, len(CLASSES))]
    return nn.Sequential(*layers)


def normalise(pictures, mean, std):
    """uint8 pictures [n,h,w] as the network's input [n,1,h,w]."""
    return (torch.from_numpy(pictures).float().unsqueeze(1) - mean) / std


def predict(net, pictures, mean, std):
    """The class of each picture."""
    net.eval()
    with torch.no_grad():
        parts = [net(normalise(part, mean, std)) for part in np.array_split(pictures, 50)]
    return torch.cat(parts).argmax(1).numpy()


def train(splits, args):
    """Train on fresh compositions in every epoch; returns the network, mean and std."""
    torch.manual_seed(args.seed)
    val, val_labels = compositions(splits["val"], VALIDATION, (args.seed, 1))
    net = build_network(norm=True).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters())
    steps = args.epochs * (args.train_count // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.004, total_steps=steps)
    for epoch in range(args.epochs):
        start, losses = time.time(), []
        key, clutter = (args.seed, 0, epoch), min(1, epoch / 4)  # easier at first, or it sticks
        pictures, labels = compositions(splits["train"], args.train_count, key, clutter)
        if epoch == 0:
            mean, std = round(float(pictures.mean()), 1), round(float(pictures.std()), 1)
        net.train()
        for batch in np.arange(len(labels) // BATCH * BATCH).reshape(-1, BATCH):
            logits = net(normalise(pictures[batch], mean, std))
            loss = nn.functional.cross_entropy(logits, torch.from_numpy(labels[batch]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        right, took = (predict(net, val, mean, std) == val_labels).mean(), time.time() - start
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, val {right:.3f}, {took:.0f} s")
    return net, mean, std


def fill(net, tensors):
    """The network with the tensors as its parameters, in order."""
    with torch.no_grad():
        for parameter, tensor in zip(net.parameters(), tensors, strict=True):
            parameter.copy_(tensor)
    return net


def fold(net):
    """The same network without batch normalisation: each one goes into its convolution."""
    tensors, layers = [], list(net.eval())
    for layer, following in zip(layers, layers[1:]):
        if isinstance(layer, nn.Conv2d):
            scale = following.weight / torch.sqrt(following.running_var + following.eps)
            tensors.append(layer.weight * scale[:, None, None, None])
            tensors.append(following.bias - following.running_mean * scale)
    return fill(build_network(norm=False), [*tensors, *layers[-1].parameters()])


def export(net, path):
    """Write the folded network as an ONNX file with readable names."""
    tensors = iter(net.parameters())
    nodes, weights, inputs = [], [], ["image"]

    def add(op, name, count=0, output=None, **attributes):
        for part in ("weight", "bias")[:count]:
            array = np.ascontiguousarray(next(tensors).detach().numpy())
            weights.append(numpy_helper.from_array(array, f"{name}_{part}"))
            inputs.append(f"{name}_{part}")
        nodes.append(helper.make_node(op, inputs, [output or name], name, **attributes))
        inputs[:] = nodes[-1].output

    square = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}
    for number, group in enumerate(GROUPS, 1):
        for place in range(1, len(group) + 1):
            add("Conv", f"conv{number}_{place}", 2, **square)
            add("Relu", f"relu{number}_{place}")
        add("MaxPool", f"pool{number}", kernel_shape=[2, 2], strides=[2, 2])
    add("GlobalAveragePool", "gap")
    add("Flatten", "flatten", axis=1)
    add("Gemm", "fc", 2, output="logits", transB=1)
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 1, SIZE, SIZE])
    logits = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, len(CLASSES)])
    graph = helper.make_graph(nodes, "digits", [image], [logits], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def load(path):
    """The folded network with the weights of an exported file."""
    arrays = [numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
    return fill(build_network(norm=False), [torch.tensor(array) for array in arrays])


def compare(net, path, pictures, mean, std):
    """How often the file, run by ONNX's reference evaluator, gives the same class as net."""
    session = ReferenceEvaluator(str(path))
    inputs = normalise(pictures, mean, std).numpy()
    logits = [session.run(None, {"image": picture[None]})[0] for picture in inputs]
    return int((np.concatenate(logits).argmax(1) == predict(net, pictures, mean, std)).sum())


def write_pictures(pictures, labels, images, table):
    """Write the pictures as PNG into the folder `images` and their labels to the file `table`."""
    images.mkdir(parents=True, exist_ok=True)
    names = [f"{number:04}.png" for number in range(len(pictures))]
    for name, picture in zip(names, pictures):
        Image.fromarray(picture).save(images / name, optimize=True)
    table.write_text("file,label\n" + "".join(f"{n},{label}\n" for n, label in zip(names, labels)))


def score(predicted, labels):
    """Right answers, accuracy, and its 95 % Wilson interval."""
    n, right, z = len(labels), int((predicted == labels).sum()), 1.959964
    share, scale = right / n, 1 / (1 + z * z / n)
    middle = (share + z * z / (2 * n)) * scale
    half = z * (share * (1 - share) / n + (z / (2 * n)) ** 2) ** 0.5 * scale
    shares = {"accuracy": share, "wilson95_low": middle - half, "wilson95_high": middle + half}
    return {"right": right, "of": n} | {name: round(value, 4) for name, value in shares.items()}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    option = parser.add_argument
    data = Path(__file__).resolve().parent.parent / "data" / "digits"
    option("--out", type=Path, default=data, help="where the results go")
    option("--write-test", type=Path, metavar="DIR", help="also write every test composition there")
    option("--no-train", action="store_true", help="use the model and report already in --out")
    option("--seed", type=int, default=7, help="of the split, the compositions and the weights")
    option("--epochs", type=int, default=10, help="how often to go through fresh compositions")
    option("--train-count", type=int, default=6000, help="training compositions of an epoch")
    option("--test-count", type=int, default=3000, help="test compositions to measure on")
    return parser.parse_args()


def main():
    args = parse_arguments()
    torch.set_flush_denormal(True)
    torch.set_num_threads(2)
    args.out.mkdir(parents=True, exist_ok=True)
    model, report = args.out / "digits.onnx", args.out / "report.json"
    splits = split_digits(args.seed)
    if args.no_train:
        mean, std = (json.loads(report.read_text())[name] for name in ("mean", "std"))
        net = load(model)
    else:
        net, mean, std = train(splits, args)
        export(fold(net), model)
    pictures, labels = compositions(splits["test"], args.test_count, (args.seed, 2))
    predicted = predict(load(model), pictures, mean, std)
    kept, kept_labels = pictures[: KEEP], labels[: KEEP]
    results = {"seed": args.seed, "mean": mean, "std": std} | {
        "test": score(predicted, labels),
        "kept": score(predicted[: KEEP], kept_labels),
        "kept_same_class_in_onnx_and_torch": compare(net, model, kept, mean, std),
    }
    report.write_text(json.dumps(results, indent=2) + "\n")
    print(report.read_text(), end="")
    (args.out / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    write_pictures(kept, kept_labels, args.out / "images", args.out / "labels.csv")
    if args.write_test:
        write_pictures(pictures, labels, args.write_test / "images", args.write_test / "labels.csv")


if __name__ == "__main__":
    main()
