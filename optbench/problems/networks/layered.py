"""Networks described by a list of layers: one of your own, and those of textbook and suites."""

from collections.abc import Mapping
from pathlib import Path
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

    def __init__(self, options: Mapping[str, Any], data_dir: Path | None = None) -> None:
        super().__init__(options, data_dir)
        self._made: Network | None = None

    def prepare(self) -> tuple[str, ...]:
        """Find the data, then make the network for images of their size.

        Raises
        ------
        SuiteError
            If the layers do not chain, or do not end in a score for each class.
        """
        notices = super().prepare()
        out, classes = self.network.layers[-1].out_shape, self.dataset.classes
        if out != (classes,):
            raise SuiteError(
                f"the last layer gives {'×'.join(map(str, out))} scores; "
                f"{self.dataset.name} has {classes} classes, so end with 'dense {classes}'"
            )
        return notices

    @property
    def network(self) -> Network:  # type: ignore[override]
        """The network, made for the data set's images."""
        if self._made is None:
            given = self.settings
            try:
                layers = parse_layers(
                    given["layers"], self.dataset.image_shape, given["init"], given["init_std"]
                )
            except SuiteError as error:
                raise error.within(self.name) from None
            loss = make_loss(given["loss"], given["log_eps"])
            penalty = Regularization(given["l1"], given["l2"], given["weight_decay"])
            self._made = Network(layers, loss, penalty)
        return self._made

    @override
    def architecture(self) -> dict[str, Any]:
        given = self.settings
        return {
            "input": list(self.dataset.image_shape),
            **{name: given[name] for name in ("layers", "init", "init_std", "loss", "log_eps")},
        }
