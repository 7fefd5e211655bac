# Both programs run as services without a public address; people reach the pages through an identity-aware proxy or a
# tunnel of their own, and sign in.
resource "google_cloud_run_v2_service" "orchestrator" {
  name     = "streamcommerce"
  location = var.region
  ingress  = "INGRESS_TRAFFIC_INTERNAL_ONLY"

  template {
    service_account = google_service_account.orchestrator.email

    # One instance that is always there: it is scheduler and worker as well, not only a web server.
    scaling {
      min_instance_count = 1
      max_instance_count = 1
    }

    vpc_access {
      egress = "PRIVATE_RANGES_ONLY"
      network_interfaces {
        network    = google_compute_network.main.id
        subnetwork = google_compute_subnetwork.main.id
      }
    }

    containers {
      image = var.streamcommerce_image

      resources {
        limits   = { cpu = "2", memory = "2Gi" }
        cpu_idle = false
      }

      ports {
        container_port = 8080
      }

      dynamic "env" {
        for_each = {
          STREAMCOMMERCE_BUCKET            = google_storage_bucket.lake.name
          STREAMCOMMERCE_GCP_PROJECT       = var.project
          STREAMCOMMERCE_BIGQUERY_LOCATION = var.location
          STREAMCOMMERCE_WEB_BIND          = "0.0.0.0:8080"
        }
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = google_secret_manager_secret.orchestrator
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value.secret_id
              version = "latest"
            }
          }
        }
      }
    }
  }
}

resource "google_cloud_run_v2_worker_pool" "streaming" {
  name     = "streamcommerce-streaming"
  location = var.region

  template {
    service_account = google_service_account.streaming.email

    vpc_access {
      egress = "PRIVATE_RANGES_ONLY"
      network_interfaces {
        network    = google_compute_network.main.id
        subnetwork = google_compute_subnetwork.main.id
      }
    }

    containers {
      image = var.streaming_image

      dynamic "env" {
        for_each = {
          STREAMCOMMERCE_BUCKET                  = google_storage_bucket.lake.name
          STREAMCOMMERCE_KAFKA_BOOTSTRAP_SERVERS = "bootstrap.${google_managed_kafka_cluster.main.cluster_id}.${var.region}.managedkafka.${var.project}.cloud.goog:9092"
        }
        content {
          name  = env.key
          value = env.value
        }
      }
    }
  }
}
