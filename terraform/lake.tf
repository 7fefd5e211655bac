# The bucket. Nothing deletes `_commits/` or `events_data/`: the first is the truth, the second is the data.
resource "google_storage_bucket" "lake" {
  name                        = var.bucket
  location                    = var.location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  # Uploads that were never committed.
  lifecycle_rule {
    condition {
      age            = 30
      matches_prefix = ["_staging/"]
    }
    action {
      type = "Delete"
    }
  }

  # Results of tasks that are too big for the database.
  lifecycle_rule {
    condition {
      age            = 90
      matches_prefix = ["_xcom/"]
    }
    action {
      type = "Delete"
    }
  }

  dynamic "lifecycle_rule" {
    for_each = var.dead_letter_days == null ? [] : [var.dead_letter_days]
    content {
      condition {
        age            = lifecycle_rule.value
        matches_prefix = ["_dlq/"]
      }
      action {
        type = "Delete"
      }
    }
  }
}

resource "google_bigquery_dataset" "staging" {
  dataset_id = "staging_streamcommerce"
  location   = var.location
}

resource "google_bigquery_dataset" "production" {
  dataset_id = "prod_streamcommerce"
  location   = var.location
}
