"""MNIST and two sets of the same form: 60,000 and 10,000 images of 28×28 pixels in ten classes.

Sources: Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits"
(http://yann.lecun.com/exdb/mnist/); H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a novel
image dataset for benchmarking machine learning algorithms", 2017, arXiv:1708.07747; T. Clanuwat
et al., "Deep learning for classical Japanese literature", 2018, arXiv:1812.01718.
"""

from typing import Any

from optbench.datasets.base import DatasetInfo
from optbench.datasets.collection import Collection, IdxFile

SHAPE = (28, 28)
CLASSES = 10


def _collection(
    *, checksums: tuple[str, str, str, str], gzipped: bool = False, layout: Any, **known: Any
) -> Collection:
    """Return a collection of four files.

    ``checksums`` are SHA-256 of images and labels to train on, then of those to test on; ``known``
    goes into its :class:`DatasetInfo`.
    """
    sizes = {"train": 60_000, "test": 10_000}
    splits = {
        split: (
            IdxFile(f"{prefix}-images-idx3-ubyte", images, sizes[split], SHAPE, gzipped),
            IdxFile(f"{prefix}-labels-idx1-ubyte", labels, sizes[split], (), gzipped),
        )
        for split, prefix, images, labels in (
            ("train", "train", *checksums[:2]),
            ("test", "t10k", *checksums[2:]),
        )
    }
    files = {file.stored_name: file.sha256 for pair in splits.values() for file in pair}
    info = DatasetInfo(splits=sizes, files=files, **known)
    return Collection(info, splits, SHAPE, CLASSES, **layout)


MNIST = _collection(
    name="mnist",
    description="MNIST in full, as four IDX files or as mnist.pkl.gz (50,000/10,000/10,000)",
    origin="Y. LeCun, C. Cortes and C. J. C. Burges; made from data of NIST",
    licence="none stated by the authors; commonly given as CC BY-SA 3.0",
    checksums=(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
    ),
    layout={
        "torchvision": "MNIST",
        "pickle": "mnist.pkl.gz",
        "pickle_splits": {"train": 50_000, "validation": 10_000, "test": 10_000},
    },
)

FASHION_MNIST = _collection(
    name="fashion-mnist",
    description="Fashion-MNIST: photographs of clothes, as four IDX files",
    origin="H. Xiao, K. Rasul and R. Vollgraf, Zalando SE",
    licence="MIT",
    checksums=(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    ),
    layout={"own_folder": True, "torchvision": "FashionMNIST"},
)

KMNIST = _collection(
    name="kmnist",
    description="Kuzushiji-MNIST: cursive Japanese characters, as four gzipped IDX files",
    origin="T. Clanuwat et al., ROIS-DS Center for Open Data in the Humanities",
    licence="CC BY-SA 4.0",
    # Published are checksums of the gzipped files only, among others by torchvision.
    gzipped=True,
    checksums=(
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    ),
    mirrors=(
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist",
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist",
    ),
    layout={"own_folder": True, "torchvision": "KMNIST"},
)
