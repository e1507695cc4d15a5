"""Everything that `streams demo` and the tests need on one machine: a real broker without Docker, input, proof."""
