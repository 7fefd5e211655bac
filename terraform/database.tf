resource "google_sql_database_instance" "main" {
  name                = "streamcommerce"
  database_version    = "POSTGRES_17"
  deletion_protection = true
  depends_on          = [google_service_networking_connection.services]

  settings {
    tier              = var.database_tier
    availability_type = "REGIONAL"

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.main.id
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
    }
  }
}

resource "google_sql_database" "main" {
  name     = "streamcommerce"
  instance = google_sql_database_instance.main.name
}

# The URL with its password is put in by hand, so that no state file holds it:
#   gcloud secrets versions add streamcommerce-database-url --data-file=-
resource "google_secret_manager_secret" "database_url" {
  secret_id = "streamcommerce-database-url"

  replication {
    auto {}
  }
}
