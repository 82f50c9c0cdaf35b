"""What stands in the documents and is made by a program, and what they name that has to be there."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def markdown() -> list[Path]:
    """Every document of the repository, once, those of others that were installed or built left out."""
    others = {"build", "dist", "node_modules", "site-packages"}
    return sorted(
        path
        for path in ROOT.rglob("*.md")
        if not path.is_symlink()
        and not others & set(path.relative_to(ROOT).parts)
        and not any(part.startswith(".") and part != ".github" for part in path.relative_to(ROOT).parts)
    )
