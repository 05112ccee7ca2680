"""MNIST: 60,000 and 10,000 images of handwritten digits, 28×28 pixels.

Source: Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits"
(http://yann.lecun.com/exdb/mnist/).
"""

from optbench.datasets.base import DatasetInfo
from optbench.datasets.collection import Collection, IdxFile

SHAPE = (28, 28)

SPLITS = {
    "train": (
        IdxFile(
            "train-images-idx3-ubyte",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            60_000,
            SHAPE,
        ),
        IdxFile(
            "train-labels-idx1-ubyte",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            60_000,
            (),
        ),
    ),
    "test": (
        IdxFile(
            "t10k-images-idx3-ubyte",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            10_000,
            SHAPE,
        ),
        IdxFile(
            "t10k-labels-idx1-ubyte",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            10_000,
            (),
        ),
    ),
}

MNIST = Collection(
    info=DatasetInfo(
        name="mnist",
        description="MNIST in full, as four IDX files or as mnist.pkl.gz (50,000/10,000/10,000)",
        splits={name: images.examples for name, (images, _) in SPLITS.items()},
        origin="Y. LeCun, C. Cortes and C. J. C. Burges; made from data of NIST",
        licence="none stated by the authors; commonly given as CC BY-SA 3.0",
        files={file.name: file.sha256 for pair in SPLITS.values() for file in pair},
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "https://storage.googleapis.com/cvdf-datasets/mnist",
        ),
    ),
    splits=SPLITS,
    shape=SHAPE,
    classes=10,
    pickle="mnist.pkl.gz",
    pickle_splits={"train": 50_000, "validation": 10_000, "test": 10_000},
)
