"""CUDA sources: an element-wise rule's, and those of what stands between two matrix products.

They are what CuPy's ``ElementwiseKernel`` takes: inputs, outputs, and the body that a thread runs
for each element i of what is not ``raw``. T stands for the type of the numbers. The operations have
the formulas of the methods of :class:`optbench.arrays.Workspace` that bear their names.
"""

from typing import NamedTuple

from optbench.device.programs import OPERATIONS, Operand, Program


class Source(NamedTuple):
    """An element-wise kernel, as CuPy takes it."""

    inputs: str
    outputs: str
    body: str
    name: str


RECTIFY = Source(
    "T value, T shift",
    "T out",
    """
    const T sum = value + shift;
    out = sum > T(0) || sum != sum ? sum : T(0);
    """,
    "optbench_rectify",
)
"""A thread an element. CUDA's own max() drops NaN."""

RECTIFY_BACK = Source(
    "raw T values, int64 rows, int64 columns",
    "raw T grads, T sum",
    """
    const ptrdiff_t first = i + i / columns * columns * (rows - 1);
    T total = 0;
    for (ptrdiff_t row = 0; row < rows; ++row) {
        const ptrdiff_t place = first + row * columns;
        const T grad = grads[place] * T(values[place] > T(0) ? 1 : 0);
        grads[place] = grad;
        total += grad;
    }
    sum = total;
    """,
    "optbench_rectify_back",
)
"""A thread a column of a lane, which goes down the rows in order."""

GATHER_RATIO = Source(
    "raw S rows, I index, int64 columns, T divisor",
    "T out",
    "out = T(rows[ptrdiff_t(index) * columns + i % columns]) / divisor;",
    "optbench_gather_ratio",
)
"""A thread an element."""

SOFTMAX_LOSSES = Source(
    "raw T scores, I label, int64 classes, T log_eps, bool of_likelihood",
    "raw T back, T loss",
    """
    const ptrdiff_t first = i * classes;
    T largest = scores[first];
    for (ptrdiff_t index = 1; index < classes; ++index) {
        const T score = scores[first + index];
        largest = largest > score ? largest : score;
    }
    T total = 0;
    for (ptrdiff_t index = 0; index < classes; ++index) {
        const T exponential = exp(scores[first + index] - largest);
        back[first + index] = exponential;
        total += exponential;
    }
    T picked = 0;
    for (ptrdiff_t index = 0; index < classes; ++index) {
        const T y = back[first + index] / total;
        const bool is_target = index == ptrdiff_t(label);
        if (is_target) {
            picked = of_likelihood ? y : scores[first + index] - largest;
        }
        back[first + index] = y - T(is_target ? 1 : 0);
    }
    loss = of_likelihood ? -log(picked + log_eps) : log(total) - picked;
    """,
    "optbench_softmax_losses",
)
"""A thread an example, which goes over its classes."""

NORMAL_CDF = Source(
    "T value",
    "T out",
    "out = T(0.5) * erfc(value * T(-0.7071067811865476));",
    "optbench_normal_cdf",
)
"""A thread an element."""


ALL_FINITE = (
    "T x",
    "bool y",
    "isfinite(x)",
    "a && b",
    "y = a",
    "true",
    "optbench_all_finite",
)
"""A reduction: inputs, outputs, what is made of each number, of two results and of the last one,
the result for no numbers, and the name.

CuPy may replace x and y in these texts by names of its own, so no other word has those letters.
"""


def rule_source(program: Program) -> Source:
    """Return the kernel of an element-wise rule.

    Inputs are ``a0``, ``a1``, … for the arrays, then ``c_<name>`` for the columns; outputs are
    ``o0``, ``o2``, …, all of type T.
    """
    outputs = [index for index in range(program.arrays) if index != 1]
    lines = [f"T n{index} = a{index};" for index in outputs]
    lines += [f"T r{index};" for index in range(program.registers)]
    for operation in program.operations:
        sources = [_cuda(operand) for operand in operation.sources]
        pattern = "{}" if operation.name == "copy" else OPERATIONS[operation.name]
        lines.append(f"{_cuda(operation.target)} = {pattern.format(*sources)};")
    lines += [f"o{index} = n{index};" for index in outputs]
    inputs = [f"T a{index}" for index in range(program.arrays)]
    inputs += [f"T c_{name}" for name in program.columns]
    written = ", ".join(f"T o{index}" for index in outputs)
    return Source(", ".join(inputs), written, "\n".join(lines), "optbench_rule")


def _cuda(operand: Operand) -> str:
    if operand.kind == "number":
        return f"T({operand.key!r})"
    if operand.kind == "array":
        return "a1" if operand.key == 1 else f"n{operand.key}"
    return f"c_{operand.key}" if operand.kind == "column" else f"r{operand.key}"
