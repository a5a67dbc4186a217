"""What a score needs, read off its sums: which learned models, and whether the original. Imports no torch."""

from piva.priors.schedule import Schedule
from piva.scores.terms import Known, Latents, Network, Prediction, Prompt, Sum
from piva.types import Changing, Score

# What each learned model is trained on: psi on the original with the source prompt, phi on the edit with the target prompt.
LESSONS = {
    Network.SOURCE: Prediction(Network.SOURCE, Latents.ORIGINAL, Prompt.SOURCE),  # Eq. 7
    Network.TARGET: Prediction(Network.TARGET, Latents.EDIT, Prompt.TARGET),  # Eq. 8
}


def learned_networks(score: Score, schedule: Schedule) -> list[Network]:
    """The fine-tuned models a score needs at any time, in a fixed order."""
    used = {p.network for terms in directions(score, schedule) for p in terms.predictions}
    return [network for network in LESSONS if network in used]


def uses_original(score: Score, schedule: Schedule) -> bool:
    """Whether any term or any learned model looks at the original's latents, so that they must be rendered."""
    sums = directions(score, schedule)
    lessons = [LESSONS[network] for network in learned_networks(score, schedule)]
    looked_at = {p.latents for terms in sums for p in terms.predictions} | {p.latents for p in lessons}
    return Latents.ORIGINAL in looked_at or any(Known("original") in terms.weights for terms in sums)


def directions(score: Score, schedule: Schedule) -> list[Sum]:
    """The sums of all timesteps; of a score that changes, those at both ends of a run."""
    phases = [score.at(0.0), score.at(1.0)] if isinstance(score, Changing) else [score]
    return [phase.direction(schedule, t) for phase in phases for t in range(1, len(schedule))]
