resource "google_managed_kafka_cluster" "main" {
  cluster_id = "streamcommerce"
  location   = var.region

  capacity_config {
    vcpu_count   = "3"
    memory_bytes = "3221225472"
  }

  gcp_config {
    access_config {
      network_configs {
        subnet = google_compute_subnetwork.main.id
      }
    }
  }
}

resource "google_managed_kafka_topic" "events" {
  for_each           = toset(["product_views", "financial_transactions", "website_traffic", "customer_feedback"])
  topic_id           = each.value
  cluster            = google_managed_kafka_cluster.main.cluster_id
  location           = var.region
  partition_count    = 6
  replication_factor = 3
}
