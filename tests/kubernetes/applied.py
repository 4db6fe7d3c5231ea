"""Objects of a small system, as somebody applies them."""

from typing import Any

Object = dict[str, Any]


def gateway_class(name: str = "headgate", controller: str = "headgate.dev/gateway-controller") -> Object:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": name},
        "spec": {"controllerName": controller},
    }


def gateway(name: str = "gate", port: int = 8080, of: str = "headgate") -> Object:
    """As the server has it, with its defaults written out."""
    listener = {"name": "http", "port": port, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "Same"}}}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"gatewayClassName": of, "listeners": [listener], "somethingOfTomorrow": {"x": 1}},
    }


def route(name: str = "route", of: str = "gate", pool: str = "pool") -> Object:
    ref = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": of}
    backend = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": pool, "weight": 1}
    match = {"path": {"type": "PathPrefix", "value": "/"}}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"parentRefs": [ref], "rules": [{"matches": [match], "backendRefs": [backend]}]},
    }


def pool(name: str = "pool", port: int = 8000, app: str = "vllm") -> Object:
    return {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": app}},
            "targetPorts": [{"number": port}],
            "appProtocol": "http",
            "endpointPickerRef": {
                "group": "",
                "kind": "Service",
                "name": "picker",
                "port": {"number": 9002},
                "failureMode": "FailClose",
            },
        },
    }


def service(name: str, *, address: str = "", cluster_ip: str = "10.0.0.1", namespace: str = "default") -> Object:
    status = {"loadBalancer": {"ingress": [{"ip": address}]} if address else {}}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"app": name},
            "type": "LoadBalancer",
            "clusterIP": cluster_ip,
            "clusterIPs": [cluster_ip],
            "ipFamilies": ["IPv4"],
            "sessionAffinity": "None",
            "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP", "nodePort": 20080}],
        },
        "status": status,
    }


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}
