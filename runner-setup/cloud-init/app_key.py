"""Print the App's private key out of the cloud's secret store, which knows the machine by its own identity.

app_key.py arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME
app_key.py projects/PROJECT/secrets/NAME/versions/latest
app_key.py https://VAULT.vault.azure.net/secrets/NAME
"""

from __future__ import annotations

import base64
import functools
import os
import re
import sys
from collections.abc import Callable

SECONDS = 60  # for an answer


def aws(name: str, region: str) -> str:
    import boto3

    return str(boto3.client("secretsmanager", region_name=region).get_secret_value(SecretId=name)["SecretString"])


def google(name: str) -> str:
    from google.auth.compute_engine import Credentials
    from google.auth.transport.requests import AuthorizedSession

    with AuthorizedSession(Credentials()) as session:
        answer = session.get(f"https://secretmanager.googleapis.com/v1/{name}:access", timeout=SECONDS)
        answer.raise_for_status()
        return base64.b64decode(answer.json()["payload"]["data"]).decode()


def azure(vault: str, name: str, version: str | None) -> str:
    from azure.identity import ManagedIdentityCredential
    from azure.keyvault.secrets import SecretClient

    # A machine with several identities says which: AZURE_CLIENT_ID, as all of Azure's programs know it.
    with (
        ManagedIdentityCredential(client_id=os.environ.get("AZURE_CLIENT_ID")) as identity,
        SecretClient(vault, identity) as client,
    ):
        return str(client.get_secret(name, version).value)


# How each cloud itself writes the full name of a secret.
STORES: dict[str, Callable[..., str]] = {
    r"(arn:aws[\w-]*:secretsmanager:([\w-]+):\d+:secret:\S+)": aws,
    r"(projects/[\w.:-]+/secrets/[\w-]+/versions/\w+)": google,
    r"(https://[\w.-]+)/secrets/([\w-]+)(?:/(\w+))?": azure,
}


def store(secret: str) -> Callable[[], str]:
    """What fetches a secret of this name."""
    for pattern, fetch in STORES.items():
        if match := re.fullmatch(pattern, secret):
            return functools.partial(fetch, *match.groups())
    sys.exit(f"app_key.py: {secret!r} is no secret's full name; expected one of these:\n{__doc__}")


def main(secret: str) -> str:
    fetch = store(secret)
    try:
        key = fetch()
    except Exception as error:  # noqa: BLE001  (the three libraries' errors have nothing in common)
        sys.exit(f"app_key.py: {secret}: {error}")
    if not key.startswith("-----BEGIN "):
        sys.exit(f"app_key.py: {secret} holds no private key: expected its PEM text, from -----BEGIN on")
    return key


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(main(sys.argv[1]))
