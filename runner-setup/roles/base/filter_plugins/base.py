"""Where the kit puts what it is given."""

from __future__ import annotations

import re
from pathlib import Path


def base_certificate(file: str) -> str:
    """The place of a trusted certificate; Debian looks at files that end so and at no others."""
    name = re.sub(r"\.(pem|cer|cert|crt)$", "", Path(file).name)
    return f"/usr/local/share/ca-certificates/thebes-runner-{name}.crt"


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {"base_certificate": base_certificate}
