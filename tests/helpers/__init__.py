"""The checker behind `--jaxtyping-packages`: beartype that accepts ints for floats, as mypy does."""

from beartype import BeartypeConf, beartype

typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))
