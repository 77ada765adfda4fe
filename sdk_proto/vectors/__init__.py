"""Golden vectors as data (README.md): what every implementation of `taco.v1` is held against. No code."""
