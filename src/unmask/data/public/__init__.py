"""Public data and models that packages on PyPI carry."""
