"""Random streams are the same numbers for ever; a change here changes every result."""

import hashlib
import random
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator, Philox, SeedSequence

from optbench import rng
from tests.strict import StrictDevice

# What a stream (seed, name, block) gives: two raw numbers of the generator, two standard normal
# numbers, and four integers below 3500; each drawn from a fresh stream.
GOLDEN = {
    (0, "start/dense1.weight", 0): (
        [13889455135800983061, 17488742312923575399],
        [0.01652929468088491, 0.7994356801224827],
        [945, 2635, 1451, 3318],
    ),
    (0, "start/dense1.weight", 1): (
        [16751791384824375646, 779599186573926760],
        [-0.3462995718394428, -0.4646618176643148],
        [1694, 3178, 1407, 147],
    ),
    (0, "start/dense2.weight", 0): (
        [16942533515009638644, 11155499520759667158],
        [0.9813808295169278, -1.8934103136210847],
        [1494, 3214, 2446, 2116],
    ),
    (0, "optimizer", 0): (
        [4406500380479070247, 14310863530894415183],
        [0.8124932707688649, -0.2484770945133524],
        [2967, 836, 492, 2715],
    ),
    (0, "batches", 0): (
        [14408364998568870041, 107057010683245006],
        [0.4251337184431248, -0.10059657493752157],
        [2158, 2733, 2467, 20],
    ),
    (0, "batches", 1): (
        [7493050500696733731, 3988680892842003429],
        [0.21319934097961166, -1.8071303672327916],
        [28, 1421, 2136, 756],
    ),
    (7, "start/dense1.weight", 0): (
        [17159163947060250072, 17288739772248917415],
        [-1.0089706203637157, -0.9033514164378524],
        [1247, 3255, 479, 3280],
    ),
    (7, "start/dense1.weight", 1): (
        [6474156151947092839, 1694314811765177019],
        [-1.104673921824989, 1.4550047575923872],
        [3407, 1228, 614, 321],
    ),
    (7, "batches", 0): (
        [13903030454498219223, 5561449150025036948],
        [0.06697797670052871, 0.6894873821611749],
        [1610, 2637, 870, 1055],
    ),
    (7, "batches", 1): (
        [1090254920958623490, 7098328139786774533],
        [-0.13530984360510567, 0.032021431056997354],
        [3477, 206, 2285, 1346],
    ),
}

streams = st.tuples(
    st.integers(0, 2**64), st.sampled_from(["batches", "start/a", "start/b"]), st.integers(0, 99)
)


def raw(seed, name, block=0):
    return rng.stream(seed, name, block).bit_generator.random_raw(4).tolist()


@pytest.mark.parametrize("key", GOLDEN, ids=str)
def test_streams_are_the_same_for_ever(key):
    numbers, normal, integers = GOLDEN[key]
    assert raw(*key)[:2] == numbers
    assert rng.stream(*key).standard_normal(2).tolist() == normal
    assert rng.stream(*key).integers(3500, size=4).tolist() == integers


def test_a_stream_is_philox_keyed_by_the_hash_of_its_name():
    words = struct.unpack("<4I", hashlib.sha256(b"batches").digest()[:16])
    expected = Generator(Philox(SeedSequence(7, spawn_key=(*words, 3))))
    assert rng.stream(7, "batches", 3).integers(2**60) == expected.integers(2**60)


def test_the_first_block_is_the_default():
    assert raw(7, "batches") == raw(7, "batches", 0)


def test_a_block_of_random_numbers_serves_256_iterations():
    assert rng.ITERATIONS_PER_BLOCK == 256


@given(streams, streams)
def test_seed_name_and_block_each_make_another_stream(one, other):
    assert (raw(*one) == raw(*other)) == (one == other)


@given(st.lists(streams, min_size=2, max_size=5, unique=True), st.randoms())
def test_the_order_of_drawing_does_not_matter(keys, random):
    alone = {key: raw(*key) for key in keys}
    shuffled = random.sample(keys, len(keys))
    opened = {key: rng.stream(*key) for key in shuffled}
    drawn = {key: [] for key in keys}
    for _ in range(4):
        for key in shuffled:
            drawn[key] += opened[key].bit_generator.random_raw(1).tolist()
    assert drawn == alone


def test_a_digest_is_the_same_for_ever():
    assert rng.digest(np.arange(6).reshape(2, 3)) == "3b4f22b72ad15097"
    assert rng.digest(np.arange(6.0), np.arange(2, dtype=">i4")) == "158ac95dba935957"


def test_a_digest_is_the_start_of_the_sha256_of_type_shape_and_bytes():
    array = np.array([[1.5, -2.0]], dtype="<f4")
    expected = hashlib.sha256(b"<f4(1, 2)" + struct.pack("<2f", 1.5, -2.0)).hexdigest()
    assert rng.digest(array) == expected[:16]


def test_a_digest_sees_values_shape_type_and_order_but_not_storage():
    array = np.arange(6.0).reshape(2, 3)
    different = [array + 1e-9, array.reshape(3, 2), array.astype("f4"), array.T, array[:, ::-1]]
    digests = {rng.digest(each) for each in different}
    assert len(digests) == len(different)
    assert rng.digest(array) not in digests
    assert rng.digest(array[0], array[1]) != rng.digest(array[1], array[0])
    for same in (
        np.asfortranarray(array),
        array.astype(">f8"),
        np.repeat(array, 2, axis=1)[:, ::2],
    ):
        assert rng.digest(same) == rng.digest(array)


def murmur_finalizer(word: int) -> int:
    """MurmurHash3's fmix32, in whole numbers."""
    word ^= word >> 16
    word = word * 0x85EBCA6B % 2**32
    word ^= word >> 13
    word = word * 0xC2B2AE35 % 2**32
    return word ^ word >> 16


def test_words_are_what_their_definition_says():
    keys = [[0, 0], [1, 2**32 - 1], [2**32 - 1, 12345]]
    found = rng.hash_bits(np.array(keys, dtype=np.uint32), 100, np)
    expected = [
        [murmur_finalizer(murmur_finalizer((i + a) % 2**32) ^ b) for i in range(100)]
        for a, b in keys
    ]
    assert found.dtype == np.uint32
    assert found.tolist() == expected


def test_words_are_the_same_in_any_namespace():
    device = StrictDevice()
    keys = rng.stream(0, "keys").integers(2**32, size=(4, 2), dtype=np.uint32)
    there = rng.hash_bits(device.put(keys), 50, device.xp)
    assert device.get(there).tolist() == rng.hash_bits(keys, 50, np).tolist()


def test_words_of_a_key_are_uniform_and_those_of_two_keys_independent():
    keys = rng.stream(1, "keys").integers(2**32, size=(300, 2), dtype=np.uint32)
    shares = rng.hash_bits(keys, 1000, np) / 2**32
    counts, _ = np.histogram(shares, bins=64, range=(0.0, 1.0))
    expected = shares.size / 64
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < 103.4  # the 0.999 quantile with 63 degrees of freedom
    together = np.corrcoef(shares)[~np.eye(300, dtype=bool)]
    assert np.abs(together).max() < 6 / np.sqrt(1000)


def test_seeded_generators_give_the_same_numbers_and_are_put_back():
    random.seed(5)
    np.random.seed(5)
    before = rng.process_generators()
    drawn = []
    for _ in range(2):
        with rng.seeded_generators(2**63 - 1):
            drawn.append((random.random(), np.random.rand()))
        assert rng.process_generators() == before
    assert drawn[0] == drawn[1]
    with rng.seeded_generators(3):
        assert (random.random(), np.random.rand()) != drawn[0]
