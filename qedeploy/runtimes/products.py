"""How exactly a machine multiplies the integers of a file: kernels may trade sums that saturate for speed."""

from __future__ import annotations

from dataclasses import dataclass

from qedeploy.words import counted, listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """The kernels that multiply a file's integers on a machine.

    `kernels` names them and says how exact they are. `inexact` are the layers of the file whose sums may saturate in
    them, so that a session computes other numbers than the file says. `advice` is what would suit the machine better,
    as a sentence, "" where nothing would.
    """

    kernels: str
    inexact: tuple[str, ...] = ()
    advice: str = ""

    @property
    def doubt(self) -> str:
        """Return what is not exact, as a sentence, "" where all is."""
        if not self.inexact:
            return ""
        verb = "has" if len(self.inexact) == 1 else "have"
        return (
            f"{counted(len(self.inexact), 'layer')} ({listed(self.inexact)}) {verb} weights whose products may "
            f"saturate in this CPU's kernels ({self.kernels})."
        )
