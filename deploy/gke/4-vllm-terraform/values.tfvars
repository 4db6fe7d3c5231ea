project_id       = "<PROJECT_ID>"
cluster_name     = "<CLUSTER_NAME>"
cluster_location = "<CLUSTER_LOCATION>"
