"""What a score needs, read off its sums: which learned models, and whether the original. Imports no torch."""

from functools import cache

from piva.priors.schedule import Schedule
from piva.scores.terms import Changing, Known, Latents, Network, Prediction, Prompt, Score, Term

# What each learned model is trained on: psi on the original with the source prompt, phi on the edit with the target prompt.
LESSONS = {
    Network.SOURCE: Prediction(Network.SOURCE, Latents.ORIGINAL, Prompt.SOURCE),  # Eq. 7
    Network.TARGET: Prediction(Network.TARGET, Latents.EDIT, Prompt.TARGET),  # Eq. 8
}


def learned_networks(score: Score, schedule: Schedule) -> list[Network]:
    """The fine-tuned models a score needs at any time, in a fixed order."""
    used = {term.network for term in _terms(score, schedule) if isinstance(term, Prediction)}
    return [network for network in LESSONS if network in used]


def uses_original(score: Score, schedule: Schedule) -> bool:
    """Whether any term or any learned model looks at the original's latents, so that they must be rendered."""
    terms = _terms(score, schedule) | {LESSONS[network] for network in learned_networks(score, schedule)}
    return any(
        term == Known("original") or (isinstance(term, Prediction) and term.latents == Latents.ORIGINAL)
        for term in terms
    )


@cache  # asked for again in every edit; a thousand sums take a while
def _terms(score: Score, schedule: Schedule) -> frozenset[Term]:
    """The terms of all timesteps' sums; of a score that changes, of those at both ends of a run."""
    phases = [score.at(0.0), score.at(1.0)] if isinstance(score, Changing) else [score]
    return frozenset(
        term
        for phase in phases
        for t in range(1, len(schedule))
        for term in phase.direction(schedule, t).weights
    )
