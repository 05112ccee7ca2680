"""The workers of a cluster, as the client sees them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from optbench.cluster.facts import differences
from optbench.errors import DeviceError, argument


@dataclass
class Member:
    """A worker, as the client sees it.

    ``refused`` says why it cannot be used, one text each; a worker that was taken all the same has
    them in ``differs``. ``blocks`` are those that it is running.
    """

    address: str
    facts: Mapping[str, Any]
    refused: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    blocks: set[int] = field(default_factory=set)
    leaving: bool = False

    @property
    def name(self) -> str:
        """What people call it."""
        name = str(self.facts.get("name", self.address))
        return name if "://" not in name else name.partition("://")[2]

    @property
    def slots(self) -> int:
        """How many blocks it runs at a time: one on a GPU, which it has for itself."""
        return 1 if self.facts["device"]["kind"] == "gpu" else int(self.facts["threads"])

    def take_anyway(self) -> None:
        """Use a worker that only differs."""
        if self.facts and not self.facts["trouble"]:
            self.differs, self.refused = self.refused, ()

    def describe(self) -> dict[str, Any]:
        """Return what run.json says of a worker."""
        found = {
            "name": self.name,
            "host": self.facts["host"],
            "processor": self.facts["processor"],
            "device": self.facts["device"],
        }
        return found if not self.differs else {**found, "differs": list(self.differs)}


def introduced(address: str, told: Any, here: Mapping[str, Any]) -> Member:
    """Return a worker by what it told of itself, and by what it differs in."""
    if isinstance(told, Exception):
        lacks = isinstance(told, ImportError | AttributeError)
        why = "it has no optbench, or another one" if lacks else "it cannot tell of itself"
        return Member(address, {}, (f"{why}: {complaint(told)}",))
    if told["trouble"]:
        return Member(address, told, (told["trouble"],))
    if told["device"]["kind"] == "gpu" and not told["gpus"]:
        return Member(address, told, ("it names no GPU as its own: --resources GPU=1",))
    return Member(address, told, tuple(differences(told, here)))


def check_usable(members: Collection[Member]) -> None:
    """Refuse a cluster whose workers cannot be used, none of them.

    Raises
    ------
    DeviceError
        If there are workers, and all are refused.
    """
    if not members or not all(member.refused for member in members):
        return
    first = next(iter(members))
    differ = any("there," in text for text in first.refused)
    remedy = f"; {argument('force', True)} uses such workers and records that" if differ else ""
    raise DeviceError(
        f"no worker of the cluster can be used: {first.name}: {first.refused[0]}{remedy}"
    )


def complaint(error: BaseException) -> str:
    """Say in one line what was raised."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
