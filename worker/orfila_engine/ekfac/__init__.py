"""EK-FAC: the eigenvalue-corrected Kronecker factorisation of the Fisher (George 2018, arXiv 1806.03884)."""
