# As those of the module above, which says what they are.
variable "autopilot" {
  type    = bool
  default = true
}

variable "image" {
  type    = object({ registry = optional(string, ""), repository = optional(string, "headgate"), tag = optional(string, "") })
  default = {}
}

variable "inference_pool_match_labels" {
  type    = map(string)
  default = { app = "vllm-llama3-8b-instruct" }
}

variable "inference_pool_target_port" {
  type    = number
  default = 8000
}

variable "inference_pool_api_version" {
  type    = string
  default = ""
}

variable "picker_replicas" {
  type    = number
  default = 1
}

variable "picker_config" {
  type    = string
  default = ""
}

variable "failure_mode" {
  type    = string
  default = "FailOpen"
}

variable "metrics" {
  type    = bool
  default = true
}

variable "metrics_reader_secret" {
  type    = string
  default = ""
}

variable "health_check_path" {
  type    = string
  default = "/health"
}

variable "request_timeout_seconds" {
  type    = number
  default = 300
}

variable "inference_models" {
  type = list(object({
    name          = string
    model_name    = string
    criticality   = optional(string, "Standard")
    target_models = optional(list(object({ name = string, weight = optional(number) })), [])
  }))
  default = []
}

variable "inference_objectives" {
  type    = list(object({ name = string, priority = number }))
  default = []
}

variable "create_gateway" {
  type    = bool
  default = true
}

variable "gateway_name" {
  type    = string
  default = "inference-gateway"
}

variable "gateway_class" {
  type    = string
  default = "gke-l7-regional-external-managed"
}

variable "ip_address_name" {
  type    = string
  default = ""
}

variable "domain" {
  type    = string
  default = ""
}

variable "tls_certificate_name" {
  type    = string
  default = ""
}

variable "http_route_name" {
  type    = string
  default = "llm-route"
}

variable "http_route_path" {
  type    = string
  default = "/"
}
