"""The chapter of language models: what their matrix multiplies take on the chips, by sheets and from records."""

from collections.abc import Iterator
from typing import Final

from bench.report.chapters.base import Chapter
from bench.report.explained_sources import References
from bench.report.material import Material
from bench.report.steps import in_use_document, in_use_sections

_HOW: Final = (
    "How much of a full-strength chip a cut one is depends on the work: decoding reads weights and is limited by "
    "memory, a long prompt is limited by arithmetic. All times here are of matrix multiplies alone."
)
_NONE: Final = "No model is known here; specs/models has none."


def chapter(material: Material, references: References) -> Chapter:
    """Return the steps of every known model on the chips."""
    return Chapter(
        name="models",
        title="What it means in use: language models",
        lead=[_HOW if material.models else _NONE, *_shapes(material, references)],
        sections=in_use_sections(material.models),
        document={"models": [in_use_document(one) for one in material.models]},
    )


def _shapes(material: Material, references: References) -> Iterator[str]:
    for one in material.models:
        sources = (one.model.source, *(part.source for part in one.model.matmuls))
        numbers = dict.fromkeys(references.number(source) for source in sources)
        yield f"The shapes of the products of {one.model.name} come from {' '.join(numbers)}."
