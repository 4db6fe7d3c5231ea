output "inference_pool" {
  description = "Values of the chart headgate-inferencepool."
  value = {
    inferencePool = {
      modelServers = { matchLabels = var.inference_pool_match_labels }
      targetPorts  = [{ number = var.inference_pool_target_port }]
      apiVersion   = var.inference_pool_api_version
    }
    inferenceExtension = merge(
      {
        replicas    = var.picker_replicas
        image       = var.image
        failureMode = var.failure_mode
        monitoring = {
          gke        = { enabled = var.metrics }
          prometheus = { auth = { secretName = var.metrics_reader_secret } }
        }
      },
      var.picker_config == "" ? {} : { pluginsCustomConfig = { "default-plugins.yaml" = var.picker_config } },
    )
    provider = {
      name = "gke"
      gke = {
        autopilot     = var.autopilot
        healthCheck   = { path = var.health_check_path }
        backendPolicy = { timeoutSeconds = var.request_timeout_seconds }
      }
    }
    gateway = {
      create    = var.create_gateway
      className = var.gateway_class
      listeners = concat([{ name = "http", protocol = "HTTP", port = 80 }], local.https)
      addresses = [for name in compact([var.ip_address_name]) : { type = "NamedAddress", value = name }]
    }
    experimentalHttpRoute = {
      enabled              = true
      name                 = var.http_route_name
      inferenceGatewayName = var.gateway_name
      path                 = var.http_route_path
      requestTimeout       = "${var.request_timeout_seconds}s"
    }
    inferenceModels = [for model in var.inference_models : merge(
      { name = model.name, modelName = model.model_name, criticality = model.criticality },
      length(model.target_models) == 0 ? {} : {
        targetModels = [for target in model.target_models : merge(
          { name = target.name },
          target.weight == null ? {} : { weight = target.weight },
        )]
      },
    )]
    inferenceObjectives = [for one in var.inference_objectives : { name = one.name, priority = one.priority }]
  }
}

output "body_based_routing" {
  description = "Values of the chart headgate-body-based-routing."
  value = {
    bbr              = { image = var.image }
    provider         = { name = "gke" }
    inferenceGateway = { name = var.gateway_name }
  }
}
