variable "project_id" {
  type        = string
  description = "GCP project ID."
}

variable "cluster_name" {
  type        = string
  description = "Name of the GKE cluster with the model servers."
}

variable "cluster_location" {
  type        = string
  description = "Its region or zone."
}

variable "kubernetes_namespace" {
  type        = string
  description = "Where the model servers are, and all of this goes."
  default     = "default"
}

variable "image" {
  type        = object({ registry = optional(string, ""), repository = optional(string, "headgate"), tag = optional(string, "") })
  description = "Where you have pushed the image that the Dockerfile makes."
  default     = {}
}

variable "inference_pool_name" {
  type        = string
  description = "Name of the InferencePool and of the release."
  default     = "vllm-llama3-8b-instruct"
}

variable "inference_pool_match_labels" {
  type        = map(string)
  description = "Labels of the model servers' Pods."
  default     = { app = "vllm-llama3-8b-instruct" }
}

variable "inference_pool_target_port" {
  type        = number
  description = "Port at which they serve."
  default     = 8000
}

variable "inference_pool_api_version" {
  type        = string
  description = "inference.networking.k8s.io/v1 or inference.networking.x-k8s.io/v1alpha2; empty: the newest that the cluster serves."
  default     = ""
}

variable "inference_pool_chart" {
  type        = string
  description = "The chart headgate-inferencepool, where it is not the one beside this module: a path, or oci://…"
  default     = ""
}

variable "picker_replicas" {
  type        = number
  description = "How many endpoint pickers."
  default     = 1
}

variable "picker_config" {
  type        = string
  description = "An EndpointPickerConfig in YAML; empty: the chart's."
  default     = ""
}

variable "failure_mode" {
  type        = string
  description = "What the gateway does while no picker answers: FailOpen or FailClose."
  default     = "FailOpen"
}

variable "metrics" {
  type        = bool
  description = "Have Google's managed Prometheus read the picker's metrics: PodMonitoring, who may read them, and their token."
  default     = true
}

variable "metrics_reader_secret" {
  type        = string
  description = "A Secret with the token to read them by, where you have made one (inference-gateway-sa-metrics-reader-secret); empty: it is made."
  default     = ""
}

variable "health_check_path" {
  type        = string
  description = "Where the load balancer asks model servers whether they are well."
  default     = "/health"
}

variable "request_timeout_seconds" {
  type        = number
  description = "The longest request."
  default     = 300
}

variable "inference_models" {
  type = list(object({
    name          = string
    model_name    = string
    criticality   = optional(string, "Standard")
    target_models = optional(list(object({ name = string, weight = optional(number) })), [])
  }))
  description = "InferenceModels, where the cluster serves that kind (Inference Extension before 1.0)."
  default     = []
}

variable "inference_objectives" {
  type        = list(object({ name = string, priority = number }))
  description = "InferenceObjectives, where it serves those."
  default     = []
}

variable "create_gateway" {
  type        = bool
  description = "Whether to make the Gateway; else the route is attached to one of this name that is there."
  default     = true
}

variable "gateway_name" {
  type        = string
  description = "Name of the Gateway."
  default     = "inference-gateway"
}

variable "gateway_class" {
  type        = string
  description = "Its GatewayClass."
  default     = "gke-l7-regional-external-managed"
}

variable "ip_address_name" {
  type        = string
  description = "A reserved address for it, by name; empty: any."
  default     = ""
}

variable "domain" {
  type        = string
  description = "The hostname of the HTTPS listener; needs tls_certificate_name."
  default     = ""
}

variable "tls_certificate_name" {
  type        = string
  description = "A pre-shared certificate of the project: the Gateway serves HTTPS, too."
  default     = ""
}

variable "http_route_name" {
  type        = string
  description = "Name of the HTTPRoute."
  default     = "llm-route"
}

variable "http_route_path" {
  type        = string
  description = "What paths begin with that go to the pool."
  default     = "/"
}

variable "body_based_routing" {
  type        = bool
  description = "Whether to set X-Gateway-Model-Name from the body before routes are matched."
  default     = false
}

variable "body_based_routing_chart" {
  type        = string
  description = "The chart headgate-body-based-routing, where it is not the one beside this module."
  default     = ""
}
