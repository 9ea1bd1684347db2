"""Writes the array files of this folder with NumPy itself, as tests/it/frames.rs reads them."""

import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent

a = np.arange(6, dtype=np.float32).reshape(3, 2)
n = np.array([10, 20, 30], dtype=np.int64)
both = {"n": n, "extra": n, "a/b": a}
np.savez(FOLDER / "both.npz", **both)
np.savez_compressed(FOLDER / "both-packed.npz", **both)
np.savez(FOLDER / "uneven.npz", **{"n": n[:1], "a/b": a})

x = np.array([[1.5, -2.0], [3.25, 4.0]], dtype=np.float32)
np.save(FOLDER / "x.npy", x)
np.savez(FOLDER / "x.npz", x=x)
np.savez_compressed(FOLDER / "x-packed.npz", x=x)
np.savez(FOLDER / "fifty.npz", x=np.repeat(np.arange(50, dtype=np.float32)[:, None], 2, axis=1))
