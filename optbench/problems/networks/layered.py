"""Networks described by a list of layers."""

from functools import cached_property
from typing import Any, ClassVar

from typing_extensions import override

from optbench import datasets
from optbench.datasets.base import OWN, SPLITTINGS
from optbench.errors import SuiteError
from optbench.problems.base import DTYPES, RECORDS
from optbench.problems.batches import RULES
from optbench.problems.networks.classifier import FULL, Classifier
from optbench.problems.networks.nn.initializers import INIT_NAMES
from optbench.problems.networks.nn.losses import LOSS_NAMES, make_loss
from optbench.problems.networks.nn.network import Network, Regularization
from optbench.problems.networks.nn.parse import parse_layers
from optbench.settings import Option, Setting

DATA = ("auto", *datasets.names())


class LayeredNetwork(Classifier):
    """A network written as a list of layers, such as "dense 300", "tanh", "dropout 0.5".

    The last layer gives a score for each class. The layers' strings are those of
    :func:`optbench.problems.networks.nn.parse.parse_layers`.
    """

    name = "network"
    summary = 'a network of your own: layers = ["dense 100", "relu", "dense 10"]'
    default_iterations = 2000
    options: ClassVar[tuple[Setting, ...]] = (
        Option("data", "auto", "data set", choices=DATA),
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
        out, classes = self.network.layers[-1].out_shape, self.dataset.classes
        if out != (classes,):
            raise SuiteError(
                f"the last layer gives {'×'.join(map(str, out))} scores; "
                f"{self.dataset.name} has {classes} classes, so end with 'dense {classes}'"
            )
        return notices

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
