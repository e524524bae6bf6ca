"""The demo's corpus: photographs, and the same photographs re-synthesised by small decoders trained on the spot."""

from clipfake.corpus.demo.make import BROKEN, GROUP_BY, DemoCorpus, DemoOptions, make_demo_corpus

__all__ = ["BROKEN", "GROUP_BY", "DemoCorpus", "DemoOptions", "make_demo_corpus"]
