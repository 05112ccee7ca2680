"""The networks on MNIST and Fashion-MNIST of textbook, tutorials and benchmark suites."""

from optbench.problems.networks.layered import LayeredNetwork, options


def _mlp(sizes: tuple[int, ...], *after: str) -> tuple[str, ...]:
    """Return dense layers of these sizes, each but the last with what comes after it."""
    *hidden, last = (f"dense {size}" for size in sizes)
    return (*(layer for dense in hidden for layer in (dense, *after)), last)


TEXTBOOK_SIZES = (100, 100, 100, 100, 10)

DEEPOBS = {"split": "train-test", "log_eps": 0.0, "batches": "shuffled", "record": "before"}
DEEPOBS_MLP = {
    "layers": _mlp((1000, 500, 100, 10), "relu"),
    "init": "truncated-normal",
    "init_std": 0.03,
    **DEEPOBS,
}


class MnistMLP(LayeredNetwork):
    """The textbook's deep network on MNIST: 784-100-100-100-100-10 with ReLU.

    He initialisation N(0, 2/fan_in), biases 0, softmax cross-entropy reported as the mean of −log(y
    + log_eps), minibatches of 128 drawn with replacement.

    Source: K. Saitoh, "Deep Learning from Scratch", section 6.1.8 and its code
    ``ch06/optimizer_compare_mnist.py``.
    """

    name = "mnist-mlp"
    summary = "784-100-100-100-100-10 ReLU network on MNIST, minibatches of 128"
    options = options(layers=_mlp(TEXTBOOK_SIZES, "relu"))


class MnistMLPSigmoid(LayeredNetwork):
    """The textbook's network with sigmoids and Xavier initialisation N(0, 1/fan_in).

    Source: K. Saitoh, "Deep Learning from Scratch", section 6.2.
    """

    name = "mnist-mlp-sigmoid"
    summary = "784-100-100-100-100-10 sigmoid network on MNIST, Xavier initialisation"
    options = options(layers=_mlp(TEXTBOOK_SIZES, "sigmoid"), init="xavier")


class MnistMLPDropout(LayeredNetwork):
    """The textbook's network with dropout of 0.5 after every hidden layer.

    Source: K. Saitoh, "Deep Learning from Scratch", section 6.4.3.
    """

    name = "mnist-mlp-dropout"
    summary = "the textbook's MNIST network, dropout 0.5 after every hidden layer"
    options = options(layers=_mlp(TEXTBOOK_SIZES, "relu", "dropout 0.5"))


class MnistMLPBatchNorm(LayeredNetwork):
    """The textbook's network with batch normalisation before every ReLU.

    Source: K. Saitoh, "Deep Learning from Scratch", section 6.3.
    """

    name = "mnist-mlp-batchnorm"
    summary = "the textbook's MNIST network, batch normalisation before every ReLU"
    options = options(layers=_mlp(TEXTBOOK_SIZES, "batch-norm", "relu"))


class MnistMLPWeightDecay(LayeredNetwork):
    """The textbook's network with weight decay ½·0.1·ΣW² in the loss.

    Source: K. Saitoh, "Deep Learning from Scratch", section 6.4.2 and its code
    ``ch06/overfit_weight_decay.py``, from where λ = 0.1 comes.
    """

    name = "mnist-mlp-weight-decay"
    summary = "the textbook's MNIST network, weight decay 0.1 in the loss"
    options = options(layers=_mlp(TEXTBOOK_SIZES, "relu"), weight_decay=0.1)


class MnistLogReg(LayeredNetwork):
    """Multinomial logistic regression on MNIST from zero, minibatches of 600 in order.

    Source: "Deep Learning Tutorials", LISA lab, University of Montreal, "Classifying MNIST digits
    using Logistic Regression".
    """

    name = "mnist-logreg"
    summary = "logistic regression on MNIST, started at zero"
    options = options(
        layers=("dense 10",),
        init="zeros",
        loss="nll-mean",
        batch_size=600,
        batches="in-order",
        record="before",
    )


class MnistCNN(LayeredNetwork):
    """The textbook's simple convolutional network on MNIST.

    Convolution with 30 filters of 5×5, ReLU, max pooling 2×2, dense 100, ReLU, dense 10; weights
    N(0, 0.01²).

    Source: K. Saitoh, "Deep Learning from Scratch", section 7.5.
    """

    name = "mnist-cnn"
    summary = "convolution 30 of 5×5, max pooling, dense 100 and 10 on MNIST"
    default_iterations = 1000
    options = options(
        layers=("conv 30 5x5", "relu", "max-pool 2x2 stride=2", "dense 100", "relu", "dense 10"),
        init="normal",
        init_std=0.01,
        batch_size=100,
    )


class MnistMLPTanh(LayeredNetwork):
    """One tanh layer of 300 without biases, summed negative log-likelihood.

    Weights N(0, 1), minibatches of 500 in order, as in the source: a classical Theano program for
    MNIST.
    """

    name = "mnist-mlp-tanh"
    summary = "one tanh layer of 300 without biases on MNIST, summed NLL, minibatches of 500"
    options = options(
        layers=("dense 300 bias=false", "tanh", "dense 10 bias=false"),
        loss="nll-sum",
        init="normal",
        init_std=1.0,
        batch_size=500,
        batches="in-order",
        record="before",
    )


class MnistEarlyStopping(LayeredNetwork):
    """One tanh layer of 500 with L2, stopped early by patience.

    Hidden weights U(±√(6/(fan_in + fan_out))), output weights 0, mean negative log-likelihood, L2
    0.0001·ΣW², minibatches of 20 in order; 50,000 images train, 10,000 validate.

    Source: "Deep Learning Tutorials", LISA lab, University of Montreal, "Multilayer Perceptron".
    """

    name = "mnist-early-stopping"
    summary = "one tanh layer of 500 on MNIST with L2, minibatches of 20 in order"
    options = options(
        layers=("dense 500 init=glorot-uniform", "tanh", "dense 10 init=zeros"),
        split="train-validation-test",
        loss="nll-mean",
        l2=1e-4,
        batch_size=20,
        batches="in-order",
        record="before",
    )


class DeepOBSMnistMLP(LayeredNetwork):
    """DeepOBS's multi-layer network on MNIST: 784-1000-500-100-10 with ReLU.

    Weights from a normal of σ = 0.03 truncated at 2σ, biases 0, cross-entropy, minibatches of 128
    from shuffled epochs whose remainder is dropped, all 60,000 images.

    Source: F. Schneider, L. Balles and P. Hennig, "DeepOBS: a deep learning optimizer benchmark
    suite", ICLR 2019; version 1.1.2.
    """

    name = "deepobs-mnist-mlp"
    summary = "DeepOBS's 784-1000-500-100-10 network on MNIST"
    options = options(**DEEPOBS_MLP)


class DeepOBSFashionMLP(LayeredNetwork):
    """DeepOBS's multi-layer network on Fashion-MNIST; see :class:`DeepOBSMnistMLP`."""

    name = "deepobs-fmnist-mlp"
    summary = "DeepOBS's 784-1000-500-100-10 network on Fashion-MNIST"
    options = options(data="fashion-mnist", **DEEPOBS_MLP)


class DeepOBSMnistLogReg(LayeredNetwork):
    """DeepOBS's logistic regression on MNIST, started at zero; see :class:`DeepOBSMnistMLP`."""

    name = "deepobs-mnist-logreg"
    summary = "DeepOBS's logistic regression on MNIST, started at zero"
    options = options(layers=("dense 10",), init="zeros", **DEEPOBS)


NETWORKS = (
    MnistMLP,
    MnistMLPSigmoid,
    MnistMLPDropout,
    MnistMLPBatchNorm,
    MnistMLPWeightDecay,
    MnistLogReg,
    MnistCNN,
    MnistMLPTanh,
    MnistEarlyStopping,
    DeepOBSMnistMLP,
    DeepOBSFashionMLP,
    DeepOBSMnistLogReg,
    LayeredNetwork,
)
"""All networks, in the order in which they are listed."""
