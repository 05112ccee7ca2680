"""Networks described by lists of layers: those of textbook, tutorials and suites, and your own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from optbench import datasets
from optbench.datasets.base import FILE, OWN, SPLITTINGS
from optbench.errors import SuiteError, quoted
from optbench.problems.base import DTYPES, RECORDS
from optbench.problems.batches import RULES
from optbench.problems.minibatches import FULL
from optbench.problems.networks.classifier import Classifier
from optbench.problems.networks.nn.initializers import INIT_NAMES
from optbench.problems.networks.nn.losses import LOSS_NAMES, MSE, make_loss
from optbench.problems.networks.nn.network import Network, Regularization
from optbench.problems.networks.nn.parse import parse_layers
from optbench.settings import Choice, Option, Setting

DATA = ("auto", *datasets.names())


class Data(Choice):
    """The name of a data set, or the path of a file that holds one."""

    @override
    def check(self, value: Any) -> str:
        if isinstance(value, str) and value not in self.choices:
            if datasets.is_file_name(value):
                return value
            if Path(value).exists():
                raise SuiteError(f"{self.name} = {quoted(value)}: {FILES}")
        return super().check(value)


FILES = "data are read from .npz, .csv, .parquet and IDX files (…-images-idx3-ubyte)"


class LayeredNetwork(Classifier):
    """A network written as a list of layers, such as "dense 300", "tanh", "dropout 0.5".

    The last layer gives a score for each class. The layers' strings are those of
    :func:`optbench.problems.networks.nn.parse.parse_layers`.
    """

    name = "network"
    summary = 'a network of your own: layers = ["dense 100", "relu", "dense 10"]'
    default_iterations = 2000
    options: ClassVar[tuple[Setting, ...]] = (
        Data("data", "auto", "data set, or a file of your own", DATA),
        Option("target", "", "column of a file that is to be predicted; its name or number"),
        Option("standardize", False, "features of a file to mean 0 and deviation 1"),
        Option("split", OWN, "how the data are split", choices=SPLITTINGS),
        Option("layers", ("dense 100", "relu", "dense 10"), "layers in order"),
        Option("loss", "cross-entropy", "of the last layer's output", choices=LOSS_NAMES),
        Option("log_eps", 1e-7, "added to probabilities in the reported cross-entropy"),
        Option("init", "he", "initialisation of weights", choices=INIT_NAMES),
        Option("init_std", 0.01, "standard deviation of the normal initialisations"),
        Option("l1", 0.0, "times Σ|W|, added to the loss"),
        Option("l2", 0.0, "times ΣW², added to the loss"),
        Option("weight_decay", 0.0, "times ½ΣW², added to the loss"),
        Option("batch_size", 128, "examples a minibatch", choices=(FULL,), low=1),
        Option("batches", "replacement", "how they are drawn", choices=RULES),
        Option("dtype", "float32", "of parameters and arithmetic", choices=DTYPES),
        Option("record", "after", "loss before or after the update", choices=RECORDS),
    )

    def prepare(self) -> tuple[str, ...]:
        """Find the data, then make the network for images of their size, a score for each class."""
        notices = super().prepare()
        self._check_task()
        data, out = self.dataset, self.network.layers[-1].out_shape
        classes = data.outputs or data.classes
        if out != (classes,) and data.source == FILE and (own := self._with_outputs(classes)):
            *before, last = self.settings["layers"]
            self.settings["layers"] = (*before, own)
            del self.network
            said = f"{self.name}: the last layer is '{own}' for {data.name}, not '{last}'"
            return (*notices, said)
        if out != (classes,):
            noun = "classes" if data.classes else "targets"
            raise SuiteError(
                f"the last layer gives {'×'.join(map(str, out))} scores; "
                f"{data.name} has {classes} {noun}, so end with 'dense {classes}'"
            )
        return notices

    def _check_task(self) -> None:
        """Refuse what only a file of one's own may have: these options, and numbers to predict."""
        if self.dataset.source == FILE:
            return
        for name in ("target", "standardize"):
            if self.settings[name]:
                raise SuiteError(f"{name} is for data of your own, not for {self.dataset.name}")
        if self.settings["loss"] == MSE:
            raise SuiteError(
                f"loss = 'mse' is for numbers, and {self.dataset.name} has classes; give data of "
                f"your own, or loss = '{LOSS_NAMES[0]}'"
            )

    def _with_outputs(self, outputs: int | None) -> str:
        """Return the last layer with the outputs that data need; nothing if it is not dense."""
        kind, *rest = self.settings["layers"][-1].split()
        return " ".join([kind, str(outputs), *rest[1:]]) if kind == "dense" else ""

    @property
    @override
    def asked(self) -> datasets.Asked:
        options = self.settings
        return datasets.Asked(options["loss"] == MSE, options["target"], options["standardize"])

    @cached_property
    def network(self) -> Network:  # type: ignore[override]
        """The network, made for the data set's images."""
        options = self.settings
        try:
            layers = parse_layers(
                options["layers"], self.dataset.image_shape, options["init"], options["init_std"]
            )
        except SuiteError as error:
            raise error.within(self.name) from None
        loss = make_loss(options["loss"], options["log_eps"])
        penalty = Regularization(options["l1"], options["l2"], options["weight_decay"])
        return Network(layers, loss, penalty)

    @override
    def architecture(self) -> dict[str, Any]:
        names = ("layers", "init", "init_std", "loss", "log_eps")
        return {
            "input": list(self.dataset.image_shape),
            **{name: self.settings[name] for name in names},
        }


@dataclass(frozen=True)
class NetworkPreset:
    """:class:`LayeredNetwork` with other defaults of some options, under a name of its own."""

    name: str
    summary: str
    defaults: Mapping[str, Any]
    source: str
    default_iterations: int = LayeredNetwork.default_iterations

    def __post_init__(self) -> None:
        unknown = self.defaults.keys() - {option.name for option in LayeredNetwork.options}
        if unknown:
            raise ValueError(f"{self.name}: a network has no options {sorted(unknown)}")

    def problem(self) -> type[LayeredNetwork]:
        """Return the class of the problem."""
        attributes = {
            "name": self.name,
            "summary": self.summary,
            "default_iterations": self.default_iterations,
            "options": tuple(
                replace(option, default=self.defaults.get(option.name, option.default))
                for option in LayeredNetwork.options
            ),
            "__doc__": f"{self.summary}\n\nSource: {self.source}",
            "__module__": __name__,
        }
        return type(self.name, (LayeredNetwork,), attributes)


def _mlp(sizes: tuple[int, ...], *after: str) -> tuple[str, ...]:
    """Return dense layers of these sizes, each but the last followed by the layers ``after``."""
    *hidden, last = (f"dense {size}" for size in sizes)
    return (*(layer for dense in hidden for layer in (dense, *after)), last)


TEXTBOOK = 'K. Saitoh, "Deep Learning from Scratch"'
TEXTBOOK_SIZES = (100, 100, 100, 100, 10)

TUTORIALS = '"Deep Learning Tutorials", LISA lab, University of Montreal'

DEEPOBS_SOURCE = (
    'F. Schneider, L. Balles and P. Hennig, "DeepOBS: a deep learning optimizer benchmark suite", '
    "ICLR 2019; version 1.1.2, where the remainder of an epoch is dropped"
)
DEEPOBS = {"split": "train-test", "log_eps": 0.0, "batches": "shuffled", "record": "before"}
DEEPOBS_MLP = {
    "layers": _mlp((1000, 500, 100, 10), "relu"),
    "init": "truncated-normal",
    "init_std": 0.03,
    **DEEPOBS,
}

IN_ORDER = {"batches": "in-order", "record": "before"}

PRESETS = (
    NetworkPreset(
        "mnist-mlp",
        "784-100-100-100-100-10 ReLU network on MNIST, minibatches of 128",
        {"layers": _mlp(TEXTBOOK_SIZES, "relu")},
        f"{TEXTBOOK}, section 6.1.8 and its code ``ch06/optimizer_compare_mnist.py``",
    ),
    NetworkPreset(
        "mnist-mlp-sigmoid",
        "784-100-100-100-100-10 sigmoid network on MNIST, Xavier initialisation",
        {"layers": _mlp(TEXTBOOK_SIZES, "sigmoid"), "init": "xavier"},
        f"{TEXTBOOK}, section 6.2",
    ),
    NetworkPreset(
        "mnist-mlp-dropout",
        "the textbook's MNIST network, dropout 0.5 after every hidden layer",
        {"layers": _mlp(TEXTBOOK_SIZES, "relu", "dropout 0.5")},
        f"{TEXTBOOK}, section 6.4.3",
    ),
    NetworkPreset(
        "mnist-mlp-batchnorm",
        "the textbook's MNIST network, batch normalisation before every ReLU",
        {"layers": _mlp(TEXTBOOK_SIZES, "batch-norm", "relu")},
        f"{TEXTBOOK}, section 6.3",
    ),
    NetworkPreset(
        "mnist-mlp-weight-decay",
        "the textbook's MNIST network, weight decay 0.1 in the loss",
        {"layers": _mlp(TEXTBOOK_SIZES, "relu"), "weight_decay": 0.1},
        f"{TEXTBOOK}, section 6.4.2 and its code ``ch06/overfit_weight_decay.py``, for λ = 0.1",
    ),
    NetworkPreset(
        "mnist-logreg",
        "logistic regression on MNIST, started at zero",
        {
            "layers": ("dense 10",),
            "init": "zeros",
            "loss": "nll-mean",
            "batch_size": 600,
            **IN_ORDER,
        },
        f'{TUTORIALS}, "Classifying MNIST digits using Logistic Regression"',
    ),
    NetworkPreset(
        "mnist-cnn",
        "convolution 30 of 5×5, max pooling, dense 100 and 10 on MNIST",
        {
            "layers": (
                "conv 30 5x5",
                "relu",
                "max-pool 2x2 stride=2",
                "dense 100",
                "relu",
                "dense 10",
            ),
            "init": "normal",
            "init_std": 0.01,
            "batch_size": 100,
        },
        f"{TEXTBOOK}, section 7.5",
        default_iterations=1000,
    ),
    NetworkPreset(
        "mnist-mlp-tanh",
        "one tanh layer of 300 without biases on MNIST, summed NLL, minibatches of 500",
        {
            "layers": ("dense 300 bias=false", "tanh", "dense 10 bias=false"),
            "loss": "nll-sum",
            "init": "normal",
            "init_std": 1.0,
            "batch_size": 500,
            **IN_ORDER,
        },
        "a classical Theano program for MNIST",
    ),
    NetworkPreset(
        "mnist-early-stopping",
        "one tanh layer of 500 on MNIST with L2, minibatches of 20 in order",
        {
            "layers": ("dense 500 init=glorot-uniform", "tanh", "dense 10 init=zeros"),
            "split": "train-validation-test",
            "loss": "nll-mean",
            "l2": 1e-4,
            "batch_size": 20,
            **IN_ORDER,
        },
        f'{TUTORIALS}, "Multilayer Perceptron": 50,000 images train, 10,000 validate',
    ),
    NetworkPreset(
        "deepobs-mnist-mlp",
        "DeepOBS's 784-1000-500-100-10 network on MNIST",
        DEEPOBS_MLP,
        DEEPOBS_SOURCE,
    ),
    NetworkPreset(
        "deepobs-fmnist-mlp",
        "DeepOBS's 784-1000-500-100-10 network on Fashion-MNIST",
        {"data": "fashion-mnist", **DEEPOBS_MLP},
        DEEPOBS_SOURCE,
    ),
    NetworkPreset(
        "deepobs-mnist-logreg",
        "DeepOBS's logistic regression on MNIST, started at zero",
        {"layers": ("dense 10",), "init": "zeros", **DEEPOBS},
        DEEPOBS_SOURCE,
    ),
)
"""Networks of the textbook, of tutorials and of DeepOBS, in the order in which they are listed."""

NETWORKS: tuple[type[LayeredNetwork], ...] = (
    *(preset.problem() for preset in PRESETS),
    LayeredNetwork,
)
"""The classes of all networks, in the order in which they are listed."""

globals().update({network.__name__: network for network in NETWORKS})  # where pickle looks them up
