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

# Their values are put in by hand, so that no state file holds them:
#   gcloud secrets versions add streamcommerce-database-url --data-file=-
# The key is what `openssl rand -base64 32` says; with the password the first start makes the user admin.
locals {
  secrets = {
    STREAMCOMMERCE_DATABASE_URL   = "streamcommerce-database-url"
    STREAMCOMMERCE_SECRET_KEY     = "streamcommerce-secret-key"
    STREAMCOMMERCE_ADMIN_PASSWORD = "streamcommerce-admin-password"
  }
}

resource "google_secret_manager_secret" "orchestrator" {
  for_each  = local.secrets
  secret_id = each.value

  replication {
    auto {}
  }
}
