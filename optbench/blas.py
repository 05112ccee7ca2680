"""Which kernels OpenBLAS, NumPy's library for products, works with; decided before NumPy is loaded.

OpenBLAS knows processors by model. An AMD processor newer than itself gets the kernels for AVX2,
though it may have AVX-512: OpenBLAS 0.3.31 does so on family 26 (Zen 5), where products then take
1.7 times as long. The environment variable ``OPENBLAS_CORETYPE`` names the kernels to take.
run.json records those that were taken, since they decide the bits of a product.
"""

import os
import sys
from pathlib import Path

VARIABLE = "OPENBLAS_CORETYPE"
CPUINFO = Path("/proc/cpuinfo")

AVX512 = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
"""What the kernels called SkylakeX need."""


def choose_kernels() -> None:
    """Have OpenBLAS use AVX-512 on AMD processors that have it, unless the user chose already.

    Does nothing once NumPy is loaded, and nothing but on Linux.
    """
    if VARIABLE in os.environ or "numpy" in sys.modules:
        return
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    if wants_avx512(text):
        os.environ[VARIABLE] = "SkylakeX"


def wants_avx512(cpuinfo: str) -> bool:
    r"""Say whether the text of /proc/cpuinfo describes an AMD processor with AVX-512.

    >>> wants_avx512("vendor_id : GenuineIntel\nflags : avx2 avx512f\n")
    False
    """
    first = cpuinfo.partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    facts = {name.strip(): value.strip() for name, _, value in pairs}
    flags = set(facts.get("flags", "").split())
    return facts.get("vendor_id") == "AuthenticAMD" and flags >= AVX512
