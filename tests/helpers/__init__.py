"""The checker behind `--jaxtyping-packages`: beartype, with ints accepted where floats are asked for, as mypy does."""

from beartype import BeartypeConf, beartype

typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))
