"""Where everything lies and what computes: the only place that knows paths of the repository, and the device."""

from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Workspace:
    """The folders of a reproduction, and the device that it computes on.

    What is run goes under ``runs``, which git ignores. ``results`` (tables that were measured) and ``figures`` (their
    pictures) are committed and change only when they are published: see `reproduction.commands.publish`.

    Attributes
    ----------
    data : Path or None
        The folder that a preset's data files are relative to; None for a preset whose data are in the repository.
    device : str
        "cpu" or "cuda".
    root : Path
        The repository, or a folder laid out like it.
    runs : Path
        Where run folders go, ``<runs>/<preset>/<run>/``; ``runs`` in the root by default.
    """

    data: Path | None = None
    device: str = "cpu"
    root: Path = ROOT
    runs: Path = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "data", Path(self.data) if self.data else None)
        object.__setattr__(self, "runs", Path(self.runs or self.root / "runs"))

    @property
    def configs(self) -> Path:
        """Presets, claims and sweeps."""
        return self.root / "configs"

    @property
    def notebooks(self) -> Path:
        """The ordered notebooks."""
        return self.root / "notebooks"

    def file(self, name: str) -> Path:
        """A data file of a preset: in the data folder if there is one, else in the repository."""
        return (self.data or self.root) / name

    def results(self, preset: str) -> Path:
        """The committed tables of a preset."""
        return self.root / "results" / preset

    def figures(self, preset: str) -> Path:
        """The committed pictures of a preset."""
        return self.root / "figures" / preset

    def drawn(self, preset: str) -> Path:
        """Where the notebooks leave the tables and pictures of a preset: ``results/`` and ``figures/`` in there."""
        return self.runs / preset / "report"
