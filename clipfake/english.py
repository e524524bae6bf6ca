"""English that depends on a number."""


def counted(n: float, noun: str) -> str:
    """How many there are of what, in words.

    >>> counted(1, "node"), counted(2, "node"), counted(0.5, "GPU"), counted(1200, "image")
    ('1 node', '2 nodes', '0.5 GPUs', '1,200 images')
    """
    return f"{n:,.10g} {noun}{'' if n == 1 else 's'}"
