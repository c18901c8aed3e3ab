"""Review rounds: a case's images split over reviewers, blind where it matters, with controls that nobody knows."""
