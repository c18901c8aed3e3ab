"""The engine: influence fingerprints, collapse detection, unlearning. A pure torch library, usable in a notebook."""
