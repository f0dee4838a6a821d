"""How passwords are kept."""

from django.contrib.auth import hashers


class Argon2(hashers.Argon2PasswordHasher):  # type: ignore[misc]
    """Argon2id at 19 MiB and two passes: a tenth of the default's time, which every store's first start spends once."""

    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1
