# Everything is one release of the chart headgate-inferencepool, so that a plan needs no kind that the cluster lacks yet.
# What it is installed with is reckoned in ./values, which needs no provider and no cloud, and is tested.

provider "google" {
  project = var.project_id
}

data "google_client_config" "this" {}

data "google_container_cluster" "this" {
  project  = var.project_id
  name     = var.cluster_name
  location = var.cluster_location
}

provider "helm" {
  kubernetes = {
    host                   = "https://${data.google_container_cluster.this.endpoint}"
    token                  = data.google_client_config.this.access_token
    cluster_ca_certificate = base64decode(data.google_container_cluster.this.master_auth[0].cluster_ca_certificate)
  }
}

module "values" {
  source = "./values"

  autopilot                   = data.google_container_cluster.this.enable_autopilot == true
  image                       = var.image
  picker_replicas             = var.picker_replicas
  picker_config               = var.picker_config
  failure_mode                = var.failure_mode
  metrics                     = var.metrics
  metrics_reader_secret       = var.metrics_reader_secret
  inference_pool_match_labels = var.inference_pool_match_labels
  inference_pool_target_port  = var.inference_pool_target_port
  inference_pool_api_version  = var.inference_pool_api_version
  health_check_path           = var.health_check_path
  request_timeout_seconds     = var.request_timeout_seconds
  inference_models            = var.inference_models
  inference_objectives        = var.inference_objectives
  create_gateway              = var.create_gateway
  gateway_name                = var.gateway_name
  gateway_class               = var.gateway_class
  ip_address_name             = var.ip_address_name
  domain                      = var.domain
  tls_certificate_name        = var.tls_certificate_name
  http_route_name             = var.http_route_name
  http_route_path             = var.http_route_path
}

resource "helm_release" "inference_pool" {
  name             = var.inference_pool_name
  namespace        = var.kubernetes_namespace
  create_namespace = var.kubernetes_namespace != "default"
  chart            = coalesce(var.inference_pool_chart, "${path.module}/../../helm/headgate-inferencepool")
  values           = [yamlencode(module.values.inference_pool)]
}

resource "helm_release" "body_based_routing" {
  count = var.body_based_routing ? 1 : 0

  name       = "body-based-router"
  namespace  = var.kubernetes_namespace
  chart      = coalesce(var.body_based_routing_chart, "${path.module}/../../helm/headgate-body-based-routing")
  values     = [yamlencode(module.values.body_based_routing)]
  depends_on = [helm_release.inference_pool]
}
