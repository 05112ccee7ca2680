"""Named random streams: the same numbers on every device, in every order of work.

A stream is a pure function of ``(seed, name, block)``. Its name and block number are hashed into
the spawn key of a :class:`numpy.random.SeedSequence`, which keys a Philox generator (Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", SC 2011). Nothing depends on earlier draws.
"""

import hashlib
import pickle
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.random import Generator, Philox, SeedSequence

from optbench.arrays import Array, Namespace

ITERATIONS_PER_BLOCK = 256
"""Iterations whose random numbers are drawn together; part of every stream's definition."""


def stream(seed: int, name: str, block: int = 0) -> Generator:
    """Return the generator of one block of a named stream.

    Parameters
    ----------
    seed
        The lane's seed, at least 0.
    name
        A stable name, such as ``"batches"`` or ``"start/dense1.weight"``.
    block
        Number of the block of :data:`ITERATIONS_PER_BLOCK` iterations, from 0.

    >>> int(stream(0, "batches").integers(1000)) == int(stream(0, "batches").integers(1000))
    True
    """
    digest = hashlib.sha256(name.encode()).digest()
    words = np.frombuffer(digest[:16], dtype="<u4").tolist()
    return Generator(Philox(SeedSequence(seed, spawn_key=(*words, block))))


def process_generators() -> bytes:
    """Return the state of the generators that all code of the process shares, to be compared.

    They are those of Python, of NumPy and, where it is loaded, of PyTorch.
    """
    torch = sys.modules.get("torch")
    states = pickle.dumps((random.getstate(), np.random.get_state(legacy=False)))
    return states + (torch.get_rng_state().numpy().tobytes() if torch else b"")


@contextmanager
def seeded_generators(seed: int) -> Iterator[None]:
    """Seed the generators that all code of the process shares, and put them back afterwards.

    Parameters
    ----------
    seed
        At least 0, and below 2⁶³.
    """
    torch = sys.modules.get("torch")
    before = random.getstate(), np.random.get_state()
    in_torch = torch.get_rng_state() if torch else None
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if torch:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        if torch:
            torch.set_rng_state(in_torch)


def hash_bits(keys: Array, count: int, xp: Namespace) -> Array:
    """Return ``count`` random words for each key: uint32, shape (n, count), on the keys' device.

    Word i of a key (k₀, k₁) is f(f(i + k₀) ⊕ k₁), where f is the finalizer of MurmurHash3 (A.
    Appleby), which mixes 32 bits one to one. Only keys are drawn on the host; the
    words of a mask are made where they are needed.

    Parameters
    ----------
    keys
        uint32, shape (n, 2), drawn from a stream.
    """
    words = xp.arange(count, dtype=xp.uint32, device=keys.device)[None, :] + keys[:, :1]
    return _mix(_mix(words) ^ keys[:, 1:])


def _mix(words: Array) -> Array:
    words = (words ^ (words >> 16)) * 0x85EBCA6B
    words = (words ^ (words >> 13)) * 0xC2B2AE35
    return words ^ (words >> 16)


def digest(*arrays: np.ndarray) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of arrays, for comparing streams.

    Dtype and shape count; byte order is little-endian everywhere.
    """
    total = hashlib.sha256()
    for array in arrays:
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        total.update(f"{little.dtype.str}{little.shape}".encode())
        total.update(little.tobytes())
    return total.hexdigest()[:16]
