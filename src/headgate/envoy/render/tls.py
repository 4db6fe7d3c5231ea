"""TLS with clients and with endpoints. Certificates stand in files of their own, called by their fingerprints."""

from collections.abc import Iterator

from headgate.envoy.render.settings import Data, Settings, typed
from headgate.plan.plan import Plan
from headgate.plan.tls import Authorities, Certificate, Origination, Termination

_NOBODY: Data = {"verify_certificate_hash": ["00" * 32]}


def secrets(plan: Plan) -> dict[str, bytes]:
    """What has to stand in which files, for our eyes and Envoy's alone."""
    return dict(_secrets(plan))


def _secrets(plan: Plan) -> Iterator[tuple[str, bytes]]:
    for listener in plan.listeners:
        if listener.tls is not None:
            for certificate in listener.tls.certificates:
                yield _of_certificate(certificate), certificate.pem.content
            if listener.tls.clients is not None and listener.tls.clients.fingerprints:
                yield _of_authorities(listener.tls.clients), listener.tls.clients.pem.content
    for pool in plan.pools.values():
        if pool.tls is not None and pool.tls.authorities is not None:
            yield _of_authorities(pool.tls.authorities), pool.tls.authorities.pem.content


def downstream(tls: Termination, settings: Settings) -> Data:
    files = [{"filename": f"{settings.folder}/{_of_certificate(one)}"} for one in tls.certificates]
    common: Data = {
        "tls_certificates": [{"certificate_chain": file, "private_key": file} for file in files],
        "alpn_protocols": ["h2", "http/1.1"],
    }
    found = typed("extensions.transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context=common)
    if tls.clients is not None:
        # Where nobody is trusted nobody gets in: no certificate has this digest.
        known: Data = {"trusted_ca": _trusted(tls.clients, settings)} if tls.clients.fingerprints else _NOBODY
        common["validation_context"] = known
        found["require_client_certificate"] = True
    return {"name": "envoy.transport_sockets.tls", "typed_config": found}


def upstream(tls: Origination, settings: Settings) -> Data:
    names = [("DNS", name) for name in tls.alt_names] + [("URI", uri) for uri in tls.uris]
    validation: Data = {
        "match_typed_subject_alt_names": [
            {"san_type": kind, "matcher": {"exact": name}} for kind, name in names or [("DNS", tls.hostname)]
        ]
    }
    if tls.authorities is None:
        validation["trusted_ca"] = {"filename": settings.authorities}
    else:
        validation["trusted_ca"] = _trusted(tls.authorities, settings)
    found = typed(
        "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        sni=tls.hostname,
        common_tls_context={"validation_context": validation},
    )
    return {"name": "envoy.transport_sockets.tls", "typed_config": found}


def _trusted(authorities: Authorities, settings: Settings) -> Data:
    return {"filename": f"{settings.folder}/{_of_authorities(authorities)}"}


def _of_certificate(certificate: Certificate) -> str:
    return f"secrets/{certificate.fingerprint}.pem"


def _of_authorities(authorities: Authorities) -> str:
    return f"secrets/{'-'.join(one[:16] for one in authorities.fingerprints)}.pem"
