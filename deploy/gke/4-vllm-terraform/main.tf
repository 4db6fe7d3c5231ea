module "inference-gateway" {
  source = "../../terraform/inference-gateway"

  project_id       = var.project_id
  cluster_name     = var.cluster_name
  cluster_location = var.cluster_location
}
