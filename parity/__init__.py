"""Our numbers beside those of transformers: `make parity`. Never part of the tests, which need no peer."""
