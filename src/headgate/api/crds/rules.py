"""What fields ask of each other, in CEL (Kubernetes 1.25 and newer evaluates it): the rules of `api/rules`, in short.

(path, expression, message): the expression holds of what stands at the path, as far as it is there.
"""

from collections.abc import Mapping

from headgate.api.crds.merging import node
from headgate.api.crds.schema import Schema

Rule = tuple[str, str, str]

_NO_TLS = "['HTTP', 'TCP', 'UDP']"
_SAME_HOSTNAME = "has(a.hostname) == has(b.hostname) && (!has(a.hostname) || a.hostname == b.hostname)"
_IP = r"^(([0-9]{1,3}\\.){3}[0-9]{1,3}|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)$"
_CERTIFIED = (
    "has(self.certificateRefs) && size(self.certificateRefs) > 0 || has(self.options) && size(self.options) > 0"
)

GATEWAY: tuple[Rule, ...] = (
    (
        "spec.listeners",
        f"self.all(l, !(l.protocol in {_NO_TLS}) || !has(l.tls))",
        "tls goes with protocol HTTPS or TLS only",
    ),
    (
        "spec.listeners",
        "self.all(l, l.protocol != 'HTTPS' || !has(l.tls) || l.tls.mode == 'Terminate')",
        "HTTPS ends TLS at the gateway: write mode Terminate",
    ),
    ("spec.listeners", "self.all(l, l.protocol != 'TLS' || has(l.tls))", "protocol TLS needs tls with a mode"),
    (
        "spec.listeners",
        "self.all(l, !(l.protocol in ['TCP', 'UDP']) || !has(l.hostname))",
        "TCP and UDP know no hostnames",
    ),
    (
        "spec.listeners",
        f"self.all(a, self.exists_one(b, a.port == b.port && a.protocol == b.protocol && ({_SAME_HOSTNAME})))",
        "port, protocol and hostname together must differ from every other listener's",
    ),
    (
        "spec.listeners[].tls",
        f"self.mode != 'Terminate' || {_CERTIFIED}",
        "certificateRefs or options are needed where TLS ends",
    ),
    (
        "spec.addresses[]",
        f"self.type != 'IPAddress' || !has(self.value) || self.value == '' || self.value.matches('{_IP}')",
        "the value of an IPAddress is an IP address",
    ),
    (
        "spec.addresses",
        "self.all(a, !has(a.value) || self.exists_one(b, has(b.value) && a.type == b.type && a.value == b.value))",
        "each address stands once",
    ),
)

_SAME_PARENT = (
    "a.group == b.group && a.kind == b.kind && a.name == b.name && has(a.__namespace__) == has(b.__namespace__)"
    " && (!has(a.__namespace__) || a.__namespace__ == b.__namespace__)"
)
_SAME_PART = (
    "has(a.sectionName) == has(b.sectionName) && (!has(a.sectionName) || a.sectionName == b.sectionName)"
    " && has(a.port) == has(b.port) && (!has(a.port) || a.port == b.port)"
)
_REPLACES = (
    "(has(f.urlRewrite) && has(f.urlRewrite.path) && f.urlRewrite.path.type == 'ReplacePrefixMatch'"
    " || has(f.requestRedirect) && has(f.requestRedirect.path)"
    " && f.requestRedirect.path.type == 'ReplacePrefixMatch')"
)
_ONE_PREFIX = (
    "(has(self.matches) && size(self.matches) == 1 && has(self.matches[0].path)"
    " && self.matches[0].path.type == 'PathPrefix')"
)
_PATH = r"^([-A-Za-z0-9/._~!$&()*+,;=:@\x27]|[%][0-9a-fA-F][0-9a-fA-F])+$".replace("\\", "\\\\")
_TOKEN = r"^[A-Za-z0-9!#$%&\x27*+.^_`|~-]+$".replace("\\", "\\\\")
_MEMBERS = {
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestMirror": "requestMirror",
    "RequestRedirect": "requestRedirect",
    "URLRewrite": "urlRewrite",
    "ExtensionRef": "extensionRef",
    "CORS": "cors",
    "ExternalAuth": "externalAuth",
}
_ONCE = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "CORS")


def _service_port(path: str) -> Rule:
    return path, "self.group != '' || self.kind != 'Service' || has(self.port)", "a Service needs a port"


def _filters(path: str) -> tuple[Rule, ...]:
    """Of the filters of a rule, or of one backend."""
    one = f"{path}[]"
    return (
        *((path, f"size(self.filter(f, f.type == '{kind}')) <= 1", f"{kind} may stand once") for kind in _ONCE),
        (
            path,
            "!(self.exists(f, f.type == 'RequestRedirect') && self.exists(f, f.type == 'URLRewrite'))",
            "a redirect and a rewrite exclude each other",
        ),
        *(
            (one, f"has(self.{member}) == (self.type == '{kind}')", f"{member} goes with type {kind}, and it with it")
            for kind, member in _MEMBERS.items()
        ),
        *(
            (
                f"{one}.{member}.path",
                f"has(self.{name}) == (self.type == '{kind}')",
                f"{name} goes with type {kind}, and it with it",
            )
            for member in ("urlRewrite", "requestRedirect")
            for kind, name in (("ReplaceFullPath", "replaceFullPath"), ("ReplacePrefixMatch", "replacePrefixMatch"))
        ),
        _service_port(f"{one}.requestMirror.backendRef"),
        (
            f"{one}.requestMirror",
            "!(has(self.percent) && has(self.fraction))",
            "percent and fraction exclude each other",
        ),
        (f"{one}.requestMirror.fraction", "self.numerator <= self.denominator", "a fraction is at most 1"),
        *(
            (f"{one}.cors.{name}", "!('*' in self) || size(self) == 1", "* stands for all: write it alone")
            for name in ("allowOrigins", "allowMethods", "allowHeaders")
        ),
    )


HTTP_ROUTE: tuple[Rule, ...] = (
    (
        "spec.parentRefs",
        f"self.all(a, self.exists_one(b, {_SAME_PARENT} && {_SAME_PART}))",
        "each parent, or each section of it, stands once",
    ),
    (
        "spec.parentRefs",
        f"self.all(a, self.all(b, !({_SAME_PARENT}) || (has(a.sectionName) || has(a.port))"
        " == (has(b.sectionName) || has(b.port))))",
        "where a parent stands more than once, each entry needs a sectionName or a port",
    ),
    (
        "spec.rules",
        "self.map(r, has(r.matches) ? size(r.matches) : 0).sum() <= 128",
        "a route has at most 128 matches in all",
    ),
    (
        "spec.rules",
        "self.all(a, !has(a.name) || self.exists_one(b, has(b.name) && a.name == b.name))",
        "each rule's name stands once",
    ),
    (
        "spec.rules[]",
        "!(has(self.backendRefs) && size(self.backendRefs) > 0 && has(self.filters)"
        " && self.filters.exists(f, f.type == 'RequestRedirect'))",
        "a rule that redirects has no backends",
    ),
    (
        "spec.rules[]",
        f"!has(self.filters) || !self.filters.exists(f, {_REPLACES}) || {_ONE_PREFIX}",
        "ReplacePrefixMatch needs exactly one match, by PathPrefix",
    ),
    (
        "spec.rules[]",
        "!has(self.backendRefs) || !self.backendRefs.exists(b, has(b.filters)"
        f" && b.filters.exists(f, {_REPLACES})) || {_ONE_PREFIX}",
        "ReplacePrefixMatch needs exactly one match, by PathPrefix",
    ),
    (
        "spec.rules[].timeouts",
        "!(has(self.request) && has(self.backendRequest) && duration(self.request) > duration('0s')"
        " && duration(self.backendRequest) > duration(self.request))",
        "backendRequest can't be longer than request",
    ),
    (
        "spec.rules[].matches[].path",
        "self.type == 'RegularExpression' || self.value.startsWith('/')",
        "a path begins with /",
    ),
    (
        "spec.rules[].matches[].path",
        "self.type == 'RegularExpression' || !(self.value.contains('//') || self.value.contains('/./')"
        " || self.value.contains('/../') || self.value.contains('%2f') || self.value.contains('%2F')"
        " || self.value.contains('#') || self.value.endsWith('/..') || self.value.endsWith('/.'))",
        "a path contains no //, /./, /../, %2f and #, and does not end in /. or /..",
    ),
    (
        "spec.rules[].matches[].path",
        f"self.type == 'RegularExpression' || self.value.matches('{_PATH}')",
        "a path has only the characters of paths; others as %XX",
    ),
    (
        "spec.rules[].matches[].queryParams",
        "self.all(q, size(q.value) <= 1024)",
        "the value of a query parameter has at most 1024 characters",
    ),
    *_filters("spec.rules[].filters"),
    _service_port("spec.rules[].backendRefs[]"),
    *_filters("spec.rules[].backendRefs[].filters"),
    (
        "spec.rules[].sessionPersistence",
        "self.type == 'Cookie' ? !has(self.header) : !has(self.cookie) && !has(self.cookieConfig)",
        "cookie and cookieConfig go with type Cookie, header with type Header",
    ),
    (
        "spec.rules[].sessionPersistence",
        "!(has(self.cookie) && has(self.cookieConfig)) && (!has(self.sessionName)"
        " || !has(self.header) && !(has(self.cookie) && has(self.cookie.name)))",
        "cookie and header say what cookieConfig and sessionName say: write one form",
    ),
    (
        "spec.rules[].sessionPersistence",
        f"!has(self.sessionName) || self.sessionName == '' || self.sessionName.matches('{_TOKEN}')",
        "sessionName is the name of a cookie or a header",
    ),
    *(
        (
            "spec.rules[].sessionPersistence",
            f"!has(self.{member}) || !has(self.{member}.lifetimeType) || self.{member}.lifetimeType != 'Permanent'"
            " || has(self.absoluteTimeout)",
            "a Permanent cookie needs an absoluteTimeout",
        )
        for member in ("cookie", "cookieConfig")
    ),
)

_SAME_TARGET = "a.group == b.group && a.kind == b.kind && a.name == b.name"
BACKEND_TLS: tuple[Rule, ...] = (
    (
        "spec.targetRefs",
        f"self.all(a, self.exists_one(b, {_SAME_TARGET} && has(a.sectionName) == has(b.sectionName)"
        " && (!has(a.sectionName) || a.sectionName == b.sectionName)))",
        "each target, or each section of it, stands once",
    ),
    (
        "spec.targetRefs",
        f"self.all(a, self.all(b, !({_SAME_TARGET}) || has(a.sectionName) == has(b.sectionName)))",
        "where a target stands more than once, each entry needs a sectionName",
    ),
    (
        "spec.validation",
        "(has(self.caCertificateRefs) && size(self.caCertificateRefs) > 0)"
        " != (has(self.wellKnownCACertificates) && self.wellKnownCACertificates != '')",
        "write caCertificateRefs or wellKnownCACertificates, and not both",
    ),
    *(
        (
            "spec.validation.subjectAltNames[]",
            f"has(self.{member}) == (self.type == '{kind}')",
            f"{member} goes with type {kind}, and it with it",
        )
        for kind, member in (("Hostname", "hostname"), ("URI", "uri"))
    ),
)

GATEWAY_CLASS: tuple[Rule, ...] = (("spec.controllerName", "self == oldSelf", "controllerName can't be changed"),)

POOL: tuple[Rule, ...] = (
    (
        "spec.targetPorts",
        "self.all(a, self.exists_one(b, a.number == b.number))",
        "port number must be unique",
    ),
    (
        "spec.endpointPickerRef",
        "self.kind != 'Service' || has(self.port)",
        "port is required when kind is 'Service' or unspecified (defaults to 'Service')",
    ),
)

MODEL: tuple[Rule, ...] = (
    ("spec.modelName", "self == oldSelf", "modelName can't be changed"),
    (
        "spec.targetModels",
        "self.all(m, has(m.weight)) || self.all(m, !has(m.weight))",
        "write a weight for each target, or for none",
    ),
)

HEALTH_CHECK: tuple[Rule, ...] = (
    (
        "spec.default",
        "(has(self.timeoutSec) ? self.timeoutSec : 5) <= (has(self.checkIntervalSec) ? self.checkIntervalSec : 5)",
        "timeoutSec is at most checkIntervalSec (both are 5 where they are not written)",
    ),
    *(
        (
            "spec.default.config",
            f"has(self.{kind.lower()}HealthCheck) == (self.type == '{kind}')",
            f"{kind.lower()}HealthCheck goes with type {kind}, and it with it",
        )
        for kind in ("TCP", "HTTP", "HTTPS", "HTTP2", "GRPC")
    ),
)

RULES: Mapping[str, tuple[Rule, ...]] = {
    "GatewayClass": GATEWAY_CLASS,
    "Gateway": GATEWAY,
    "HTTPRoute": HTTP_ROUTE,
    "BackendTLSPolicy": BACKEND_TLS,
    "InferencePool/v1": POOL,
    "InferenceModel": MODEL,
    "HealthCheckPolicy": HEALTH_CHECK,
}


def rule(schema: Schema, kind: str, version: str) -> None:
    """Write the rules of a kind into its schema."""
    for path, expression, message in RULES.get(kind) or RULES.get(f"{kind}/{version}", ()):
        validations = node(schema, path).setdefault("x-kubernetes-validations", [])
        validations.append({"rule": expression, "message": message})
