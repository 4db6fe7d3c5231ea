locals {
  https = var.tls_certificate_name == "" ? [] : [merge(
    {
      name     = "https"
      protocol = "HTTPS"
      port     = 443
      tls = {
        mode    = "Terminate"
        options = { "networking.gke.io/pre-shared-certs" = var.tls_certificate_name }
      }
    },
    var.domain == "" ? {} : { hostname = var.domain },
  )]
}
