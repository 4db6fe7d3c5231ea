variable "project_id" {
  type        = string
  description = "GCP project ID"
}

variable "cluster_name" {
  type        = string
  description = "Name of a target GKE cluster where the target application is deployed"
}

variable "cluster_location" {
  type        = string
  description = "Location of a target GKE cluster where the target application is deployed"
}
