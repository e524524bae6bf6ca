"""How large a difference between two runs may be before it is an alarm."""

from dataclasses import dataclass

from clipfake.options import option


@dataclass(frozen=True)
class DriftLimits:
    """A measure raises an alarm where its value exceeds the limit and chance gives such a value at most with `alpha`.

    ks : largest difference of two cumulative distributions; psi : population stability index (0.1 to 0.25 is commonly
    called moderate); errors, shares : difference of the shares of errors, and of what is called how; mean : distance of
    the mean embeddings in standard deviations of an embedding about its mean
    """

    ks: float = option(0.1, "Limit for the largest difference of two cumulative distributions.")
    psi: float = option(0.2, "Limit for the population stability index.")
    errors: float = option(0.02, "Limit for the difference of the shares of errors.")
    mean: float = option(0.25, "Limit for the distance of mean embeddings, in standard deviations.")
    shares: float = option(0.005, "Limit for the difference of the shares that reach a threshold, or are unsure.")
    alpha: float = option(0.001, "An alarm needs a difference that chance gives with this probability at most.")
