"""What `make bench` measures: speed beside a training epoch and Kronfluence, and detection against planted truth."""
