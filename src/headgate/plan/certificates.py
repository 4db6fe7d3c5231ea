"""Which certificates does an object refer to?  References → certificates and authorities, or what is wrong with them.

What can't be found out from the text alone, such as whether a key belongs to its certificate, is among the findings
of the `Lookup`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from headgate.api.gateway import ObjectRef
from headgate.api.tls import AuthorityRef, LocalRef
from headgate.api.workload import ConfigMap, Secret
from headgate.plan.conditions import Fault
from headgate.plan.grants import Referent, Referrer, permitted
from headgate.plan.lookup import Finding, Lookup
from headgate.plan.sealed import Sealed
from headgate.plan.tls import Authorities, Certificate
from headgate.plan.x509 import read_pem

CHAIN, KEY, BUNDLE = "tls.crt", "tls.key", "ca.crt"  # keys of a Secret of type kubernetes.io/tls, and of a bundle


class Certified(Struct, frozen=True):
    """What the certificateRefs of a listener lead to."""

    certificates: tuple[Certificate, ...] = ()
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


def certify(refs: Iterable[ObjectRef], namespace: str, look: Lookup) -> Certified:
    """Follow the certificateRefs of a Gateway in `namespace` (Gateway API: ListenerTLSConfig)."""
    certificates: list[Certificate] = []
    faults: list[Fault] = []
    notes: list[str] = []
    for ref in refs:
        secret = _secret(ref, namespace, look)
        if isinstance(secret, Fault):
            faults.append(secret)
            continue
        name = f"Secret {secret.meta.key}"
        finding = look.findings.get((CHAIN, "Secret", secret.meta.key), Finding())
        if fault := finding.fault or unfit(secret):
            kept = "; the one that it was before is used on" if finding.last else ""
            faults.append(Fault("InvalidCertificateRef", f"{name}: {fault}{kept}"))
        elif finding.note:
            notes.append(f"{name}: {finding.note}")
        if used := finding.last if fault else secret:
            certificates.append(read_secret(used))
    return Certified(tuple(certificates), tuple(faults), tuple(notes))


def _secret(ref: ObjectRef, namespace: str, look: Lookup) -> Secret | Fault:
    name = f"{ref.namespace or namespace}/{ref.name}"
    if (ref.group, ref.kind) != ("", "Secret"):
        return Fault("InvalidCertificateRef", f"{ref.kind} {name} ({ref.group or 'core'}) is no Secret; use a Secret")
    to = Referent("", "Secret", ref.namespace or namespace, ref.name)
    if not permitted(look.grants, Referrer("Gateway", namespace), to):
        lacks = f"no ReferenceGrant in {to.namespace} lets Gateways of {namespace}"
        return Fault("RefNotPermitted", f"Secret {name}: {lacks}")
    return look.secrets.get(name) or Fault("InvalidCertificateRef", f"Secret {name} does not exist")


def unfit(secret: Secret) -> str:
    """Why the text can't be a certificate and its key; "" when it may be."""
    chain, key = secret.data.get(CHAIN, b""), secret.data.get(KEY, b"")
    labels = ((CHAIN, chain, b"-----BEGIN CERTIFICATE-----"), (KEY, key, b"PRIVATE KEY-----"))
    if bad := [name for name, text, label in labels if label not in text]:
        return f"{' and '.join(bad)} must hold PEM"
    if b"ENCRYPTED" in key:
        return f"{KEY} is encrypted; write it without a passphrase"
    try:
        return "" if read_pem(chain) else f"{CHAIN} must hold PEM"
    except ValueError as error:
        return f"{CHAIN}: {error}"


def read_secret(secret: Secret) -> Certificate:
    """Of a Secret that is not `unfit`."""
    facts = read_pem(secret.data[CHAIN])[0]
    pem = Sealed(b"%b\n%b" % (secret.data[CHAIN], secret.data[KEY]))
    return Certificate(secret.meta.key, facts.names, facts.not_after, facts.fingerprint, pem)


class Trusted(Struct, frozen=True):
    """What references to authorities lead to; `authorities` is None where none of them leads to any."""

    authorities: Authorities | None
    faults: tuple[Fault, ...]


def trust(refs: Sequence[AuthorityRef], namespace: str, look: Lookup) -> Trusted:
    """Follow the caCertificateRefs of a Gateway in `namespace` (Gateway API: FrontendTLSValidation)."""

    def allowed(ref: AuthorityRef) -> Fault | None:
        to = Referent(ref.group, ref.kind, ref.namespace or namespace, ref.name)
        if permitted(look.grants, Referrer("Gateway", namespace), to):
            return None
        lacks = f"no ReferenceGrant in {to.namespace} lets Gateways of {namespace}"
        return Fault("RefNotPermitted", f"{ref.kind} {to.namespace}/{to.name}: {lacks}")

    named = [(ref, f"{ref.namespace or namespace}/{ref.name}", allowed(ref)) for ref in refs]
    return _trust(named, "InvalidCACertificateKind", look)


def trust_local(refs: Sequence[LocalRef], namespace: str, look: Lookup) -> Trusted:
    """Follow the caCertificateRefs of a policy in `namespace` (Gateway API: BackendTLSPolicyValidation)."""
    return _trust([(ref, f"{namespace}/{ref.name}", None) for ref in refs], "InvalidKind", look)


_Named = tuple[AuthorityRef | LocalRef, str, Fault | None]


def _trust(named: Iterable[_Named], wrong_kind: str, look: Lookup) -> Trusted:
    bundles: dict[str, bytes] = {}
    faults: list[Fault] = []
    for ref, name, barred in named:
        read = _BUNDLES.get((ref.group, ref.kind))
        if read is None:
            told = f"{ref.kind} {name} ({ref.group or 'core'}) holds no authorities; use a ConfigMap"
            faults.append(Fault(wrong_kind, told))
        elif barred:
            faults.append(barred)
        elif fault := _no_bundle(ref.kind, name, pem := read(look, name), look):
            faults.append(Fault("InvalidCACertificateRef", f"{ref.kind} {name}{fault}"))
        elif pem is not None:
            bundles[name] = pem
    if not bundles:
        return Trusted(None, tuple(faults))
    fingerprints = tuple(facts.fingerprint for pem in bundles.values() for facts in read_pem(pem))
    return Trusted(Authorities(tuple(bundles), fingerprints, Sealed(b"\n".join(bundles.values()))), tuple(faults))


def _of_config_map(look: Lookup, name: str) -> bytes | None:
    found = look.config_maps.get(name)
    return None if found is None else bundle(found)


def _of_secret(look: Lookup, name: str) -> bytes | None:
    found = look.secrets.get(name)
    return None if found is None else bundle(found)


_BUNDLES: Mapping[tuple[str, str], Callable[[Lookup, str], bytes | None]] = {
    ("", "ConfigMap"): _of_config_map,
    ("", "Secret"): _of_secret,
}


def bundle(source: ConfigMap | Secret) -> bytes:
    """The authorities' PEM that an object holds, b"" where it holds none."""
    if isinstance(source, Secret):
        return source.data.get(BUNDLE, b"")
    return source.data.get(BUNDLE, "").encode() or source.binary_data.get(BUNDLE, b"")


def _no_bundle(kind: str, name: str, pem: bytes | None, look: Lookup) -> str:
    if pem is None:
        return " does not exist"
    fault = unfit_bundle(pem)
    if not fault and (finding := look.findings.get((BUNDLE, kind, name))):
        fault = finding.fault
    return fault and f": {fault}"


def unfit_bundle(pem: bytes) -> str:
    """Why the text can't be a bundle of authorities; "" when it may be."""
    try:
        return "" if read_pem(pem) else f"{BUNDLE} must hold PEM"
    except ValueError as error:
        return f"{BUNDLE}: {error}"
