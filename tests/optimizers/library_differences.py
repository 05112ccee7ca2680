"""What the textbook, papers and libraries do otherwise, for the table in docs/optimizers.md.

``{place:key}`` stands for a default: of a library's function where the place is in :data:`STATED`,
else of the rules here that it names, and of their presets.
"""

STATED: dict[str, dict[str, float | str]] = {
    "torch.optim.SGD": {"lr": 0.001, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0},
    "torch.optim.Adagrad": {"eps": 1e-10, "initial_accumulator_value": 0.0},
    "torch.optim.RMSprop": {"alpha": 0.99, "eps": 1e-8},
    "torch.optim.Adadelta": {"lr": 1.0, "rho": 0.9, "eps": 1e-6},
    "torch.optim.Adam": {"eps": 1e-8, "weight_decay": 0.0},
    "torch.optim.NAdam": {"eps": 1e-8, "momentum_decay": 0.004, "decoupled_weight_decay": 0.0},
    "torch.optim.RAdam": {"eps": 1e-8, "decoupled_weight_decay": 0.0},
    "torch.optim.AdamW": {"eps": 1e-8, "weight_decay": 0.01},
    "torch.optim.Muon": {"lr": 0.001, "weight_decay": 0.1, "eps": 1e-7},
    "optax.adagrad": {"eps": 1e-7, "initial_accumulator_value": 0.1},
    "optax.rmsprop": {"decay": 0.9, "eps": 1e-8, "eps_in_sqrt": 1.0, "bias_correction": 0.0},
    "optax.adadelta": {"rho": 0.9, "eps": 1e-6},
    "optax.adam": {"eps": 1e-8},
    "optax.amsgrad": {"eps": 1e-8, "bias_correction_mu": 1.0, "bias_correction_nu": 1.0},
    "optax.nadam": {"eps": 1e-8},
    "optax.radam": {"eps": 1e-8, "threshold": 5.0},
    "optax.adamw": {"eps": 1e-8, "weight_decay": 1e-4},
    "optax.lion": {"weight_decay": 0.001},
    "optax.adan": {"eps_root": 1e-8, "weight_decay": 0.0},
    "optax.lamb": {"eps": 1e-6, "weight_decay": 0.0},
    "optax.contrib.muon": {"eps": 1e-8, "weight_decay": 0.0},
}
"""Defaults of libraries, which the parity tests compare with the functions' signatures; a switch
that is off is 0."""

NOTES = {
    ("sgd-torch", "optax.sgd"): "without dampening, which optax has not.",
    ("amsgrad", "torch.optim.Adam"): "with `amsgrad=True` and `largest_of = uncorrected`.",
    ("yogi", "optax.yogi"): "with optax's m started at 0, as in the paper, and not at `initial`.",
    ("muon", "torch.optim.Muon"): (
        "orthogonalised in the precision of the parameters, where PyTorch takes bfloat16; "
        "what is not a hidden matrix beside `torch.optim.AdamW`."
    ),
    ("muon", "optax.contrib.muon"): "with `nesterov = 0` and no `ns_eps`, where both agree.",
    ("schedule-free-sgd", "optax.contrib.schedule_free_sgd"): (
        "at both points, y and x; likewise the authors' package and schedule-free-adamw."
    ),
    ("prodigy", "optax.contrib.prodigy"): "with `bias_correction = 1`, which optax always has.",
}
"""How a comparison was made possible, by name and partner."""

LATER = "added to √v̂, after bias correction"

ROWS: dict[str, list[tuple[str, str, str, str, str]]] = {
    "all": [
        (
            "decay",
            "",
            "`weight_decay`·w is added to the gradient, decoupled in AdamW and Muon",
            "a transformation of its own, `add_decayed_weights`",
            "`l2`·w is added to the gradient; `weight_decay` is decoupled",
        ),
    ],
    "SGD with momentum": [
        (
            "place of lr",
            "inside the velocity: v ← momentum·v − lr·g",
            "outside: w ← w − lr·v",
            "outside",
            "inside in `momentum`, outside in `sgd-torch`; the same path at a constant lr",
        ),
        (
            "dampening",
            "",
            "{torch.optim.SGD:dampening}; of all gradients but the first",
            "",
            "{sgd-torch:dampening}",
        ),
        ("lr", "0.01", "{torch.optim.SGD:lr}", "no default", "{momentum sgd-torch:lr}"),
        (
            "momentum",
            "0.9",
            "{torch.optim.SGD:momentum}",
            "none unless given",
            "{momentum sgd-torch:momentum}",
        ),
    ],
    "Nesterov's momentum": [
        (
            "look ahead",
            "the textbook's code along the new v, one step further than Bengio et al.",
            "as Bengio et al.: w ← w − lr·(g + momentum·v)",
            "as PyTorch",
            "the textbook's in `nesterov`, PyTorch's in `sgd-torch`; {sgd-torch:nesterov}",
        ),
    ],
    "AdaGrad": [
        ("place of eps", "outside the root", "outside", "inside", "{adagrad:eps_place}"),
        ("eps", "1e-7", "{torch.optim.Adagrad:eps}", "{optax.adagrad:eps}", "{adagrad:eps}"),
        (
            "sum at the start",
            "0",
            "{torch.optim.Adagrad:initial_accumulator_value}",
            "{optax.adagrad:initial_accumulator_value}",
            "{adagrad:initial}",
        ),
    ],
    "RMSprop": [
        (
            "place of eps",
            "outside the root",
            "outside",
            "inside, unless `eps_in_sqrt=False`",
            "{rmsprop rmsprop-torch:eps_place}",
        ),
        (
            "eps",
            "1e-7",
            "{torch.optim.RMSprop:eps}",
            "{optax.rmsprop:eps}",
            "{rmsprop rmsprop-torch:eps}",
        ),
        (
            "share kept",
            "0.99",
            "{torch.optim.RMSprop:alpha}",
            "{optax.rmsprop:decay}",
            "{rmsprop rmsprop-torch:decay}",
        ),
        (
            "bias correction",
            "none",
            "none",
            "only with `bias_correction=True`",
            "{rmsprop:bias_correction}; none in `rmsprop-torch`",
        ),
        (
            "lr with momentum",
            "",
            "outside the velocity",
            "inside the velocity",
            "outside, in `rmsprop-torch`; the same path at a constant lr",
        ),
    ],
    "Adadelta": [
        ("place of eps", "inside both roots", "inside both", "inside both", "inside both"),
        (
            "eps",
            "no default",
            "{torch.optim.Adadelta:eps}",
            "{optax.adadelta:eps}",
            "{adadelta:eps}",
        ),
        (
            "share kept",
            "no default",
            "{torch.optim.Adadelta:rho}",
            "{optax.adadelta:rho}",
            "{adadelta:decay}",
        ),
        ("lr", "none", "{torch.optim.Adadelta:lr}", "to be given", "{adadelta:lr}"),
    ],
    "Adam": [
        (
            "place of eps",
            "added to √v, before bias correction; after it in the paper's algorithm 1",
            LATER,
            LATER,
            "{adam:eps_place}",
        ),
        ("eps", "1e-7; the paper 1e-8", "{torch.optim.Adam:eps}", "{optax.adam:eps}", "{adam:eps}"),
        ("bias correction", "both means", "both", "both", "{adam:bias_correction}"),
        (
            "decay",
            "none",
            "λ·w is added to g, λ = {torch.optim.Adam:weight_decay}",
            "none",
            "none of its own; `l2` is PyTorch's",
        ),
    ],
    "AMSGrad": [
        (
            "bias correction",
            "none",
            "after the largest v was taken",
            "before it is taken",
            "{amsgrad:largest_of}; {amsgrad:bias_correction}",
        ),
        ("eps", "none", "{torch.optim.Adam:eps}", "{optax.amsgrad:eps}", "{amsgrad:eps}"),
    ],
    "NAdam": [
        (
            "momentum",
            "μₜ = β₁·(1 − 0.96^(t·0.004)/2)",
            "the same, `momentum_decay`: {torch.optim.NAdam:momentum_decay}",
            "constant: μₜ = β₁",
            "{nadam:momentum_decay}",
        ),
        ("mean square", "v̂ times β₂", "v̂", "v̂", "v̂"),
        (
            "eps",
            "after bias correction",
            "{torch.optim.NAdam:eps}, after",
            "{optax.nadam:eps}, after",
            "{nadam:eps}, after",
        ),
    ],
    "RAdam": [
        ("place of eps", "none", "added to √v, before bias correction", LATER, "{radam:eps_place}"),
        ("rectified where", "ρ > 4", "ρ > 5", "ρ ≥ {optax.radam:threshold}", "ρ > 5"),
        ("eps", "none", "{torch.optim.RAdam:eps}", "{optax.radam:eps}", "{radam:eps}"),
    ],
    "AdamW": [
        ("decay", "λ·w times the schedule, without lr", "lr·λ·w", "lr·λ·w", "lr·λ·w"),
        (
            "λ",
            "no default",
            "{torch.optim.AdamW:weight_decay}",
            "{optax.adamw:weight_decay}",
            "{adamw:weight_decay}",
        ),
        (
            "eps",
            "after bias correction",
            "{torch.optim.AdamW:eps}, after",
            "{optax.adamw:eps}, after",
            "{adamw:eps}, after",
        ),
    ],
    "Lion": [
        ("λ", "0 in the authors' code", "", "{optax.lion:weight_decay}", "{lion:weight_decay}"),
        ("decay", "lr·λ·w", "", "lr·λ·w", "lr·λ·w"),
    ],
    "Adan": [
        (
            "betas",
            "shares of the new in the paper, shares kept in the authors' code",
            "",
            "shares kept",
            "shares kept",
        ),
        ("look ahead by", "the share kept of the change", "", "1 − share kept", "{adan:ahead}"),
        ("eps in the root", "none", "", "{optax.adan:eps_root}", "{adan:eps_root}"),
        (
            "decay",
            "divides by 1 + lr·λ, or lr·λ·w with the authors' `no_prox=True`",
            "",
            "lr·λ·w",
            "lr·λ·w; {adan:weight_decay}",
        ),
    ],
    "LAMB": [
        (
            "ratio",
            "φ(‖w‖)/‖u‖ with a φ to choose; code often clips ‖w‖ at 10",
            "",
            "‖w‖/‖u‖",
            "‖w‖/‖u‖",
        ),
        ("eps", "after bias correction", "", "{optax.lamb:eps}, after", "{lamb:eps}, after"),
        (
            "decay",
            "in u, so the ratio scales it",
            "",
            "in u, λ = {optax.lamb:weight_decay}",
            "in u; {lamb:weight_decay}",
        ),
    ],
    "Muon": [
        (
            "bias of the momentum",
            "not corrected",
            "not corrected",
            "corrected, of m and g apart",
            "not corrected",
        ),
        (
            "norm divided by",
            "‖u‖ + 1e-7",
            "max(‖u‖, {torch.optim.Muon:eps})",
            "‖u‖ + {optax.contrib.muon:eps}",
            "max(‖u‖, ns_eps); {muon:ns_eps}",
        ),
        ("orthogonalised in", "bfloat16", "bfloat16", "parameters' dtype", "parameters' dtype"),
        (
            "which tensors",
            "hidden matrices, as the user sorts them",
            "matrices that it is handed; others are refused",
            "every matrix, AdamW for the rest",
            "weights but those of the first and last layer, AdamW for the rest",
        ),
        ("lr", "0.02", "{torch.optim.Muon:lr}", "no default", "{muon:lr}"),
        (
            "λ",
            "0",
            "{torch.optim.Muon:weight_decay}",
            "{optax.contrib.muon:weight_decay}",
            "{muon:weight_decay}",
        ),
    ],
}
"""By rule: what it is about, then the textbook or the paper, PyTorch, optax, and this package."""
