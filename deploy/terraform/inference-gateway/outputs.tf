output "gateway" {
  description = "How to learn the Gateway's address."
  value       = "kubectl -n ${var.kubernetes_namespace} get gateway ${var.gateway_name} -o jsonpath='{.status.addresses[0].value}'"
}

output "inference_pool" {
  description = "Name of the InferencePool."
  value       = helm_release.inference_pool.name
}
