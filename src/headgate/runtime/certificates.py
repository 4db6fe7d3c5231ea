"""Certificates tried: what is found out by loading them, beyond what their text says.

The plan is made without OpenSSL. So what OpenSSL has against a Secret or a bundle of authorities goes into it as a
finding, and from there into the statuses; what has expired is used all the same, and told as a warning.
"""

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct

from headgate.api import Problem, Snapshot
from headgate.api.workload import ConfigMap, Secret
from headgate.plan.certificates import BUNDLE, CHAIN, bundle, read_secret, unfit, unfit_bundle
from headgate.plan.lookup import Finding, Findings, Tried
from headgate.plan.references import references
from headgate.plan.tls import Certificate
from headgate.plan.x509 import read_pem
from headgate.proxy.contexts import load_authorities, server_context, why_unfit


class Examined(Struct, frozen=True):
    """`fit` are the Secrets, by namespace/name, that can be used, each as it was when it last could be."""

    findings: Findings = {}
    problems: tuple[Problem, ...] = ()
    fit: Mapping[str, Secret] = {}


def examine(snapshot: Snapshot, fit: Mapping[str, Secret], now: float) -> Examined:
    """Try all that Gateways and policies refer to. `fit`: those of the last time; `now` is Unix time in seconds."""
    wanted = references(snapshot)
    today = datetime.fromtimestamp(now, UTC)
    findings: dict[Tried, Finding] = {}
    problems: list[Problem] = []
    still: dict[str, Secret] = {}
    for secret in snapshot.secrets:
        key = secret.meta.key
        if (CHAIN, "Secret", key) not in wanted:
            continue
        fault = _fault(secret)
        last = fit.get(key) if fault else secret
        if last is not None:
            still[key] = last
        note = "" if fault else _note(read_secret(secret), secret, today)
        if note:
            problems.append(_warning(secret, note))
        if fault or note:
            findings[CHAIN, "Secret", key] = Finding(fault, note, last if fault else None)
    for kind, sources in (("Secret", snapshot.secrets), ("ConfigMap", snapshot.config_maps)):
        for source in sources:
            key = source.meta.key
            if (BUNDLE, kind, key) in wanted and (fault := _bundle_fault(source)):
                findings[BUNDLE, kind, key] = Finding(fault)
    return Examined(findings, tuple(problems), still)


def _fault(secret: Secret) -> str:
    if fault := unfit(secret):
        return fault
    try:
        server_context(read_secret(secret), None)
    except (OSError, ValueError) as error:
        return why_unfit(error)
    return ""


def _note(certificate: Certificate, secret: Secret, today: datetime) -> str:
    begins = read_pem(secret.data[CHAIN])[0].not_before
    if today > certificate.not_after:
        return f"the certificate has expired on {certificate.not_after:%Y-%m-%d}"
    return f"the certificate is not valid before {begins:%Y-%m-%d}" if today < begins else ""


def _warning(secret: Secret, note: str) -> Problem:
    message = f"{note}, and clients will not accept it: write one that is valid"
    return Problem(secret.meta.where, f"data[{CHAIN}]", message, "warning", f"Secret {secret.meta.key}")


def _bundle_fault(source: ConfigMap | Secret) -> str:
    pem = bundle(source)
    if fault := unfit_bundle(pem):
        return fault
    try:
        load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), pem)
    except (OSError, ValueError) as error:
        return f"{BUNDLE}: {why_unfit(error)}"
    return ""
