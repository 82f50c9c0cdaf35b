"""`python -m tests.repository.documents`: renew every table that a program makes."""

from tests.repository.documents import ROOT
from tests.repository.documents.tables import replaced, tables


def main() -> None:
    """Write each into its document, and say where something changed."""
    for (document, name), make in tables().items():
        path = ROOT / document
        text = path.read_text()
        renewed = replaced(text, name, make())
        if renewed != text:
            path.write_text(renewed)
        print(f"{document}, {name}: {'renewed' if renewed != text else 'as it was'}")


if __name__ == "__main__":
    main()
